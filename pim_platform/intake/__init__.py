"""A file becomes validated rows: landing, dialect, readers, profile, mapping, validation, staging, jobs.

Belongs here: everything between bytes that came in and staged Parquet, and the import jobs that carry a
file through. Does not: what a product is or how it is stored (``catalog``).
Owns ``sources, feeds, fetched_files, fetch_hosts, uploads, import_jobs, undo_conflicts,
mapping_templates, mapping_feedback, mapping_answers``.
"""
