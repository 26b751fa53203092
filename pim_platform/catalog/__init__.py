"""The catalogue: product schema, products, their changes, and what other engines see of them.

Belongs here: everything that reads or writes a product, one merge for every door, one publisher into
ClickHouse. Does not: where rows come from (``intake``) or how they are shown (``api``, ``ui``).
Owns ``product_schemas, products, product_changes, catalog_state`` and ClickHouse's ``segmentation`` and
``tenant_<slug>`` databases.
"""
