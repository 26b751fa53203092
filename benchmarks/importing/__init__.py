"""Parts of ``benchmarks/imports.py``: what we do, what others do, on the same server in the same run."""
