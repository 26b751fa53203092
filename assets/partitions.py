"""Partitions are tenants, named by slug (design D19)."""

import dagster as dg

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
