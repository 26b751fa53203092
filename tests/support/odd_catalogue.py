"""A catalogue that holds everything a product may hold, written past the import: what no file has cleaned."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import sql

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.lock import lock_catalogue, next_commit
from pim_platform.catalog.schema import FIELD_TYPES, ProductSchema, SchemaField
from pim_platform.catalog.schemas import save_schema
from pim_platform.intake.workspace import Workspace
from pim_platform.storage import exact_json
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.audit import Actor

#: Texts that some step of writing, opening or reading a file likes to change.
ODD_TEXTS = (
    "", " ", "'", "''", "=1+1", "'=1", "-5", "+49 30", "@home", "\tx", "a\r\nb", "a\rb", '"', 'say "hi"', "0012", "1,5",
    "1e5", "true", "2024-01-01", "#N/A", "Total", "[1]", '["a"]', "{}", '{"a":1}', "null", "NaN", "_x0041_", "x ", " x",
    "\u00a0", "e\u0301", "1.23E+10", "’s", "日本", "😀", "a|b;c,d\te", "\\", "\\n", "＝1", "\ufeffx", '="12"', "'0123",
    "ß" * 300,
)  # fmt: skip

SCHEMA = ProductSchema(
    fields=(
        *(SchemaField(name=f"a_{kind}", type=kind) for kind in FIELD_TYPES),
        *(SchemaField(name=f"l_{kind}", type=kind, localizable=True) for kind in FIELD_TYPES),
        SchemaField(name="s_string", scopable=True, localizable=True),
        SchemaField(name="c_price", type="price", scopable=True),
        SchemaField(name="description_de"),
        SchemaField(name="status"),
        SchemaField(name="key"),
        SchemaField(name="weight_g", type="number"),
    ),
    default_currency="EUR",
    default_locale="en-US",
)


def odd_products() -> list[dict[str, Any]]:
    """Products with every type, every odd text, variants with their parent, one inactive, one that holds nothing."""
    parent = {"sku": "=PARENT", "name": "Parent", "kind": "parent", "data": {"a_string": "p"}}
    found = [parent, {"sku": "empty", "name": "Nothing", "data": {}}]
    numbers = [Decimal(n) for n in ("0", "-12.50", "1234567890123456789.000000012", "0.1", "100000000000000000000")]
    for index, text in enumerate(ODD_TEXTS):
        number = numbers[index % len(numbers)]
        price = {"amount": number, "currency": ("EUR", "USD", "JPY")[index % 3]}
        found.append(
            {
                "sku": f"{'=' if index % 2 else ''}S-{index:03}",
                "name": text or "named",
                "active": index % 3 != 0,
                "kind": "variant" if index % 4 == 0 else "simple",
                "parent": index % 4 == 0,
                "variant_group": text if text.strip() and index % 4 == 0 else None,
                "data": {
                    "a_string": text,
                    "description_de": text,
                    "status": text,
                    "key": text,
                    "weight_g": number,
                    "a_number": number,
                    "a_boolean": index % 2 == 0,
                    "a_array": [[], [text], [text, "b, c", "d|e"]][index % 3],
                    "a_url": "https://a.example/x?y=1,2|3",
                    "a_price": price,
                    "a_multi_price": [price | {"locale": "de-DE"}, price][: index % 3],
                    "l_string": {"de-DE": text, "en-US": "x"} if index % 2 else {"fr": text},
                    "l_number": {"de-DE": number},
                    "l_boolean": {"en-US": False},
                    "l_array": {"zh-Hant-TW": [text]},
                    "l_price": {"de-DE": price},
                    "l_multi_price": {"de-DE": [price]},
                    "s_string": {"web": {"de-DE": text}, "print": {}},
                    "c_price": {"web": price},
                },
            }
        )
    found.append(
        {"sku": "nulls", "name": "Nulls", "data": dict.fromkeys(("a_string", "a_number", "a_array", "l_string"))}
    )
    return found


def write_products(workspace: Workspace, tenant_id: UUID, products: list[dict[str, Any]]) -> None:
    """Put them into the catalogue as they are, as one commit."""
    with tenant_session(workspace.app, tenant_id) as session:
        save_schema(session, SCHEMA, Actor("test"))
        connection = driver_connection(session)
        lock_catalogue(connection, tenant_id, wait_seconds=None)
        seq = next_commit(connection, tenant_id)
        insert = sql.SQL(
            "INSERT INTO pim.products (tenant_id, sku, sku_key, name, active, kind, variant_group, data, source, "
            "commit_seq, created_seq, parent_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, 'api', %s, %s, "
            "CASE WHEN %s THEN (SELECT id FROM pim.products WHERE tenant_id = %s AND kind = 'parent') END)"
        )
        for product in products:
            connection.execute(
                insert,
                (
                    tenant_id,
                    product["sku"],
                    sku_key(product["sku"]),
                    product["name"],
                    product.get("active", True),
                    product.get("kind", "simple"),
                    product.get("variant_group"),
                    exact_json.dumps(product["data"]),
                    seq,
                    seq,
                    product.get("parent", False),
                    tenant_id,
                ),
            )
