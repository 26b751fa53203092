"""Dagster resources: the platform's stores, handed out as plain domain objects."""

from resources.stores import ClickHouseResource, ImportRunResource, PostgresResource, WorkspaceResource

__all__ = ["ClickHouseResource", "ImportRunResource", "PostgresResource", "WorkspaceResource"]
