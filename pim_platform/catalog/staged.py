"""The layout of staged Parquet: what staging writes and the catalogue reads (design D21).

Staged files (``staged-00000.parquet`` ...) hold one line per valid record, in file order:

===============  =======  ====================================================================
``row``          Int64    record number in the file; the header is 1, the first record 2;
                          where the file has no header the first record is 1
``sku``          String   as written, trimmed; never null
``sku_key``      String   :func:`pim_platform.catalog.identity.sku_key`; never null
``name``         String   null = not given (only if mapped)
``active``       Boolean  null = not given (only if mapped)
``kind``, ``variant_group``  String  null = not given (only if mapped or grouped)
``parent_sku``   String   SKU key of the parent that the product is a variant of (only if mapped or grouped)
``f.<field>``    by type  null = not given: string, url -> String; number -> String holding a JSON
                          number; boolean -> Boolean; array, price, multi_price -> String holding JSON
``row_hash``     Int64    stable hash of mapped values, mapping and schema version (design D8)
``raw.<n>``      String   cell of source column n (0-based) before mapping
===============  =======  ====================================================================

Reject files (``rejects-00000.parquet`` ...) hold one line per rejected record: ``row`` Int64,
``column``, ``value``, ``error_code``, ``error``, ``suggestion`` (String; several problems of one
record are joined by ``; ``) and the same ``raw.<n>`` columns.

Merged files (``merged-00000.parquet`` ...) hold one line per record that became part of another: ``row``, ``into``
(number of that record), ``variant_group`` and the same ``raw.<n>`` columns.
"""

from __future__ import annotations

FIELD_PREFIX = "f."
RAW_PREFIX = "raw."

REJECT_COLUMNS = ("row", "column", "value", "error_code", "error", "suggestion")
