"""What commands about one tenant share: which is meant, and the stores of this home opened for it.

All of these start this home's engines if none run, and stop them after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from pim_platform.settings import get_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from pim_platform.intake.workspace import Workspace
    from pim_platform.tenancy.tenants import TenantInfo

_Row = TypeVar("_Row")

tenant_option = click.option("--tenant", "slug", required=True, help="Slug of the tenant.")
#: Written out, because the names in ``tenancy.keys`` cost an import of the database's libraries at every ``--help``.
ROLES = click.Choice(["admin", "editor", "reviewer", "viewer"])


@contextmanager
def open_engine(slug: str) -> Iterator[tuple[Engine, TenantInfo]]:
    """PostgreSQL as the application role, and the tenant. Raises NotFound."""
    from pim_platform.local.engines import engines
    from pim_platform.storage.postgres import app_engine
    from pim_platform.tenancy.tenants import find_tenant

    settings = get_settings()
    with engines(settings):
        engine = app_engine(settings)
        yield engine, find_tenant(engine, slug)


@contextmanager
def open_session(slug: str) -> Iterator[Session]:
    """One transaction of the tenant, committed at the end. Raises NotFound."""
    from pim_platform.storage.postgres import tenant_session

    with open_engine(slug) as (engine, tenant), tenant_session(engine, tenant.id) as session:
        yield session


@contextmanager
def open_workspace(slug: str) -> Iterator[tuple[Workspace, TenantInfo]]:
    """All stores, and the tenant. Raises NotFound."""
    from pim_platform.intake.workspace import Workspace

    with open_engine(slug) as (_, tenant):
        yield Workspace(get_settings()), tenant


def every_page(page: Callable[[str | None], tuple[list[_Row], str | None]]) -> list[_Row]:
    """All rows of a list that is read by pages: ``page`` takes a cursor and returns rows and the next cursor."""
    found, cursor = page(None)
    rows = list(found)
    while cursor is not None:
        found, cursor = page(cursor)
        rows += found
    return rows
