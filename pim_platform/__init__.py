"""PIM Platform: product files of any shape become each tenant's validated catalogue.

The library behind every door (CLI, API, UI, Dagster). Imports point one way:
``api, ui, cli, definitions -> intake -> catalog -> tenancy -> storage -> settings, errors``.
Nothing here but :mod:`pim_platform.definitions` knows Dagster.
"""

__version__ = "0.1.0"
