"""Parts of ``benchmarks/api.py``: catalogues to serve, load from another process, PostgreSQL's own rate to compare."""
