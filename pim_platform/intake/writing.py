"""Writing one product: create, replace, patch, delete; for API and UI alike.

A document is staged as a record of a file is and goes through the one merge (design D7), under the tenant's lock, in
which the state that the caller believes in is checked as well. So of two who read the same state one wins and the
other is told.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import polars as pl
from psycopg import sql
from sqlalchemy.orm import Session

from pim_platform.catalog.deleting import Author, delete_rows
from pim_platform.catalog.incoming import Incoming
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.catalog.merge import Origin, merge
from pim_platform.catalog.models import Product
from pim_platform.catalog.products import find_product, get_product
from pim_platform.catalog.schema import ProductSchema
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import Conflict, InvalidRequest
from pim_platform.intake.documents import flat, patched, staged_document, whole
from pim_platform.intake.nameless import NAMELESS
from pim_platform.intake.publishing import publish_now
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor, record

Door = Literal["api", "ui"]

#: Looks at the product as it is under the lock and raises where the caller believes in another state.
Precondition = Callable[[Product], None]


@dataclass(frozen=True)
class Written:
    """A product after a write, whether that changed anything, and whether ClickHouse has it already."""

    product: Product
    outcome: Literal["created", "updated", "unchanged"]
    published: bool


def create_product(
    workspace: Workspace, tenant_id: UUID, document: Any, *, actor: Actor, door: Door = "api"
) -> Written:
    """Create a product from a document with ``sku`` and ``name``.

    Raises InvalidRequest naming what is wrong, Conflict with code ``sku_exists``, TenantBusy.
    """
    with tenant_session(workspace.app, tenant_id) as session:
        _lock(workspace, session)
        schema = current_schema(session)
        given = whole(flat(document, schema), schema)
        for name, code in (("sku", "missing_sku"), ("name", NAMELESS)):
            if given.get(name) is None:
                raise InvalidRequest(
                    f"A new product needs a {name}.", fix=f"Send {name!r}.", code=code, column=name,
                    expected=f"a value for {name}",
                )  # fmt: skip
        staged = staged_document(given, schema)
        there = find_product(session, staged["sku"][0])
        if there is not None:
            raise _taken(there)
        _not_its_own_parent(staged)
        _merge(session, staged, schema, actor, door)
        product = find_product(session, staged["sku"][0])
        assert product is not None
        record(session, actor, "product.created", "product", str(product.id), sku=product.sku)
    return Written(product, "created", publish_now(workspace, tenant_id))


def replace_product(
    workspace: Workspace,
    tenant_id: UUID,
    product_id: UUID,
    document: Any,
    *,
    actor: Actor,
    door: Door = "api",
    precondition: Precondition | None = None,
) -> Written:
    """Make a product what the document says: fields that it leaves out are cleared, columns get their defaults.

    ``sku`` and ``name`` left out stay. Another SKU renames the product, which keeps its id and history. Raises
    NotFound, InvalidRequest, Conflict with code ``sku_exists``, TenantBusy, and what ``precondition`` raises.
    """
    with _writing(workspace, tenant_id, product_id, precondition) as (session, product, schema):
        given = flat(document, schema, product)
        staged = staged_document(whole({"sku": product.sku, "name": product.name} | given, schema), schema)
        clear = ("variant_group", "parent_id")
        outcome = _update(session, product, staged, schema, actor, door, clear=clear, replace=True)
    return Written(product, outcome, outcome == "unchanged" or publish_now(workspace, tenant_id))


def patch_product(
    workspace: Workspace,
    tenant_id: UUID,
    product_id: UUID,
    patch: Any,
    *,
    actor: Actor,
    door: Door = "api",
    precondition: Precondition | None = None,
) -> Written:
    """Change a product by a JSON Merge Patch (RFC 7396): what it does not name stays, null clears.

    An empty text is no value either. Raises as :func:`replace_product` does.
    """
    with _writing(workspace, tenant_id, product_id, precondition) as (session, product, schema):
        given = patched(product, flat(patch, schema, product), schema)
        staged = staged_document({"sku": product.sku} | given, schema)
        clear = ["parent_id" if name == "parent_sku" else name for name in given]
        outcome = _update(session, product, staged, schema, actor, door, clear=clear)
    return Written(product, outcome, outcome == "unchanged" or publish_now(workspace, tenant_id))


def delete_product(
    workspace: Workspace,
    tenant_id: UUID,
    product_id: UUID,
    *,
    actor: Actor,
    door: Door = "api",
    precondition: Precondition | None = None,
) -> bool:
    """Delete a product, logged with its image; returns whether ClickHouse knows already.

    Raises NotFound, TenantBusy, and what ``precondition`` raises.
    """
    with _writing(workspace, tenant_id, product_id, precondition) as (session, product, _):
        connection = driver_connection(session)
        one = sql.SQL("p.id = {}").format(sql.Literal(product.id))
        author = Author(door, actor.name, None, actor.trace_id)
        delete_rows(connection, tenant_id, next_commit(connection, tenant_id), one, author)
        record(session, actor, "product.deleted", "product", str(product.id), sku=product.sku)
    return publish_now(workspace, tenant_id)


def _lock(workspace: Workspace, session: Session) -> None:
    seconds = workspace.settings.lock_timeout_seconds
    lock_catalogue(driver_connection(session), session.info["tenant_id"], wait_seconds=seconds)


@contextmanager
def _writing(
    workspace: Workspace, tenant_id: UUID, product_id: UUID, precondition: Precondition | None
) -> Iterator[tuple[Session, Product, ProductSchema]]:
    """The transaction of a write to one product: the lock is held, and the caller's belief holds."""
    with tenant_session(workspace.app, tenant_id) as session:
        _lock(workspace, session)
        product = get_product(session, product_id)
        if precondition is not None:
            precondition(product)
        yield session, product, current_schema(session)


def _update(
    session: Session,
    product: Product,
    staged: pl.DataFrame,
    schema: ProductSchema,
    actor: Actor,
    door: Door,
    *,
    clear: Iterable[str],
    replace: bool = False,
) -> Literal["updated", "unchanged"]:
    given, key = staged["sku"][0], staged["sku_key"][0]
    _not_its_own_parent(staged)
    if given != product.sku:
        there = find_product(session, given)
        if there is not None and there.id != product.id:
            raise _taken(there)
        staged = staged.with_columns(new_sku=pl.lit(given), new_sku_key=pl.lit(key))
    # The row finds its product by the key that it has now.
    staged = staged.with_columns(sku=pl.lit(product.sku), sku_key=pl.lit(product.sku_key))
    changed = _merge(session, staged, schema, actor, door, clear=frozenset(clear), replace=replace)
    if not changed:
        return "unchanged"
    session.refresh(product)
    record(session, actor, "product.updated", "product", str(product.id), sku=product.sku, version=product.version)
    return "updated"


def _merge(
    session: Session,
    staged: pl.DataFrame,
    schema: ProductSchema,
    actor: Actor,
    door: Door,
    *,
    clear: frozenset[str] = frozenset(),
    replace: bool = False,
) -> bool:
    """Merge one staged row; returns whether anything changed."""
    with tempfile.TemporaryDirectory(prefix="pim-write-") as folder:
        path = Path(folder) / "staged.parquet"
        staged.write_parquet(path)
        incoming = Incoming.of([path], schema, clear=clear, replace=replace, whole=True)
        done = merge(session, incoming, Origin(source=door, actor=actor.name, request_id=actor.trace_id))
    if done.unknown_parents.variants:
        raise _no_parent(str(done.unknown_parents.example), "the SKU of a product")
    return bool(done.counts.created or done.counts.updated)


def _not_its_own_parent(staged: pl.DataFrame) -> None:
    if "parent_sku" in staged.columns and staged["parent_sku"][0] == staged["sku_key"][0]:
        raise _no_parent(staged["sku"][0], "another product than itself")


def _no_parent(given: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"parent_sku: {given!r}, expected {expected}.",
        fix="Create the parent first, or leave parent_sku out.",
        code="unknown_parent",
        column="parent_sku",
        value=given,
        expected=expected,
    )


def _taken(there: Product) -> Conflict:
    return Conflict(
        f"Product {there.id} has the SKU {there.sku!r} already.",
        fix="Change that product, or choose another SKU. A bulk upsert does either, whichever is right.",
        code="sku_exists",
        column="sku",
        value=str(there.id),
    )
