"""Dagster assets, one module per stage; each body is a few lines that call ``pim_platform``."""
