"""The paths and names of the first product importer (seed 004), for programs that were written against it.

A thin translation: every route calls what the route under `/api/pim` calls, behind the same keys, and answers with the
old names. Each is marked as deprecated, in the document and in its answers (RFC 9745), with a link to its successor.
"""
