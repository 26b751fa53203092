"""Typed relations ``tenant_<slug>.products``: one column per schema field, for analysts (design D13).

PostgreSQL: a ``security_barrier`` view with the tenant's id as a literal, owned by ``pim_ddl``; the
tenant's analyst role may read it and nothing else. ClickHouse: a table per tenant, loaded from the
publisher's rows, behind a view that reads it ``FINAL``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from psycopg import sql
from sqlalchemy import Engine

from pim_platform.catalog.joins import MANY
from pim_platform.catalog.lock import lock_publisher
from pim_platform.catalog.schema import FieldType, ProductSchema, SchemaField
from pim_platform.catalog.schemas import current_schema
from pim_platform.storage.clickhouse import clickhouse_errors, quote_identifier
from pim_platform.storage.postgres import driver_connection, tenant_session
from pim_platform.tenancy.tenants import TenantInfo

#: Columns that every typed relation begins with; schema fields follow.
FIXED = ("id", "sku", "name", "active", "kind", "source", "created_at", "updated_at")


@dataclass(frozen=True)
class TypedColumn:
    """One column of the typed relation: its name, and how each engine makes it."""

    name: str
    postgres: sql.Composable
    clickhouse_type: str
    clickhouse: str


def columns_of(schema: ProductSchema) -> list[TypedColumn]:
    """The columns of the schema's fields, in order. A price has two: ``price`` and ``price_currency``."""
    taken = {*FIXED, *(field.name for field in schema.fields)}
    columns: list[TypedColumn] = []
    for field in schema.fields:
        columns += _columns(field, taken)
    return columns


def _columns(field: SchemaField, taken: set[str]) -> list[TypedColumn]:
    key, entry = sql.Literal(field.name), f"d.{quote_identifier(field.name)}"
    value = sql.SQL("(p.data ->> {})").format(key)
    if field.localizable or field.scopable or field.type == "multi_price":
        return [TypedColumn(field.name, sql.SQL("(p.data -> {})").format(key), "String", entry)]
    if field.type == "number":
        return [TypedColumn(field.name, sql.SQL("{}::numeric").format(value), "Nullable(Float64)", entry)]
    if field.type == "boolean":
        return [TypedColumn(field.name, sql.SQL("{}::boolean").format(value), "Nullable(Bool)", entry)]
    if field.type == "array":
        array = sql.SQL("ARRAY(SELECT jsonb_array_elements_text(p.data -> {}))").format(key)
        return [TypedColumn(field.name, array, "Array(String)", entry)]
    if field.type == "price":
        currency = f"{field.name}_currency"
        while currency in taken:
            currency += "_code"
        taken.add(currency)
        amount = sql.SQL("(p.data -> {} ->> 'amount')::numeric").format(key)
        return [
            TypedColumn(field.name, amount, "Nullable(Float64)", f"{entry}.amount"),
            TypedColumn(
                currency, sql.SQL("(p.data -> {} ->> 'currency')").format(key), "Nullable(String)", f"{entry}.currency"
            ),
        ]
    # Addresses differ from product to product; a dictionary of other texts makes filters and facets twice as fast.
    kind = "Nullable(String)" if field.type == "url" else "LowCardinality(Nullable(String))"
    return [TypedColumn(field.name, value, kind, entry)]


def currency_column(schema: ProductSchema, field: str) -> str:
    """The name of the column that holds the currency of the price ``field``."""
    names = [column.name for column in columns_of(schema)]
    return names[names.index(field) + 1]


def extracted_type(kind: FieldType) -> str:
    """The ClickHouse type that JSONExtract reads one value of a field of this type as."""
    return {
        "number": "Nullable(Float64)",
        "boolean": "Nullable(Bool)",
        "array": "Array(String)",
        "price": "Tuple(amount Nullable(Float64), currency Nullable(String))",
        "multi_price": "String",
    }.get(kind, "Nullable(String)")


def _extracted(field: SchemaField) -> str:
    return "String" if field.localizable or field.scopable else extracted_type(field.type)


def analyst_role(tenant: TenantInfo) -> str:
    """The PostgreSQL role that reads this tenant's typed view and nothing else."""
    return "pim_analyst_" + tenant.relation.removeprefix("tenant_")


def refresh_view(ddl_engine: Engine, tenant: TenantInfo, schema: ProductSchema) -> None:
    """Make or replace the tenant's typed view in PostgreSQL; its analyst role is made with it (NOLOGIN at first)."""
    columns = [sql.SQL("p.{}").format(sql.Identifier(name)) for name in FIXED] + [
        sql.SQL("{} AS {}").format(column.postgres, sql.Identifier(column.name)) for column in columns_of(schema)
    ]
    names = {
        "schema": sql.Identifier(tenant.relation),
        "view": sql.Identifier(tenant.relation, "products"),
        "role": sql.Identifier(analyst_role(tenant)),
    }
    with ddl_engine.begin() as outer:
        connection = outer.connection.driver_connection
        assert connection is not None
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 3))", (tenant.relation,))
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (analyst_role(tenant),)).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS").format(**names))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {schema}").format(**names))
        # Dropped and made again: REPLACE can neither rename nor retype a column.
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {view}").format(**names))
        connection.execute(
            sql.SQL(
                "CREATE VIEW {view} WITH (security_barrier) AS SELECT {columns} "
                "FROM pim.products p WHERE p.tenant_id = {id}"
            ).format(columns=sql.SQL(", ").join(columns), id=sql.Literal(str(tenant.id)) + sql.SQL("::uuid"), **names)
        )
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}").format(**names))
        connection.execute(sql.SQL("GRANT SELECT ON {view} TO {role}").format(**names))


def allow_analyst(ddl_engine: Engine, tenant: TenantInfo, password: str) -> str:
    """Let the tenant's analyst role log in with ``password``; returns the role's name."""
    role = analyst_role(tenant)
    with ddl_engine.begin() as outer:
        connection = outer.connection.driver_connection
        assert connection is not None
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
        )
        database = connection.info.dbname
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(role))
        )
    return role


def refresh_typed_relations(app: Engine, ddl: Engine, clickhouse: Client, tenant: TenantInfo) -> int:
    """Bring both typed relations to the published state; returns the commit number they are at.

    Raises EngineUnavailable where ClickHouse does not answer.
    """
    with tenant_session(app, tenant.id) as session:
        connection = driver_connection(session)
        lock_publisher(connection, tenant.id)
        row = connection.execute(
            "SELECT published_seq, typed_seq, typed_schema_version FROM pim.catalog_state WHERE tenant_id = %s",
            (tenant.id,),
        ).fetchone()
        assert row is not None, "a tenant is made with its catalog_state"
        published, typed, version = row
        schema = current_schema(session)
        if (published, schema.version) == (typed, version):
            return int(typed)
        if schema.version != version:
            refresh_view(ddl, tenant, schema)
        with clickhouse_errors("loading the typed relation"):
            # From write to write the table stays as it is: looking at it would cost more than a small write.
            if (schema.version, typed > 0) != (version, True) or not _loaded(clickhouse, tenant, schema, typed):
                after = _ensure_table(clickhouse, tenant, schema, typed if version >= 0 else 0)
                _load_table(clickhouse, tenant, schema, after)
        connection.execute(
            "UPDATE pim.catalog_state SET typed_seq = %s, typed_schema_version = %s WHERE tenant_id = %s",
            (published, schema.version, tenant.id),
        )
    return int(published)


#: Columns of every ``product_rows`` and what they are made of; schema fields follow. What a field could be called as
#: well begins with an underscore.
_FIXED_CLICKHOUSE = (
    ("id", "UUID", "product_id"),
    ("sku_key", "String", "sku_key"),
    ("sku", "String", "sku"),
    ("name", "String", "name"),
    ("active", "Bool", "active"),
    ("kind", "LowCardinality(String)", "kind"),
    ("source", "LowCardinality(String)", "source"),
    ("created_at", "DateTime64(6, 'UTC')", "created_at"),
    ("updated_at", "DateTime64(6, 'UTC')", "updated_at"),
    ("parent_id", "Nullable(UUID)", "parent_id"),
    ("variant_group", "Nullable(String)", "variant_group"),
    ("_job_id", "Nullable(UUID)", "job_id"),
    ("_source_id", "Nullable(UUID)", "source_id"),
    ("_version", "UInt64", "version"),
    ("_deleted", "UInt8", "is_deleted"),
)
WORDS, NAME, NAME_WORDS = "_words", "_name", "_name_words"
"""The columns that search looks into: every text of a product, folded (:func:`folded`), its name alone, and how many
words that has."""
_SEARCHED = ((WORDS, "String"), (NAME, "String"), (NAME_WORDS, "UInt16"))
_TOKENIZER = "splitByNonAlpha"

#: Parts of a table that nobody writes to are merged into one after so many seconds: reading FINAL costs nothing then.
_MERGE_SECONDS = 60
#: Loads of more rows leave the index of words to that merge; it would take as long as all the rest of a load.
_INDEXED_ROWS = 100_000
#: Search reads whole columns: LZ4 is unpacked in half the time of the ZSTD that chDB takes by default, and needs half
#: as much room again.
_CODEC = "default_compression_codec = 'LZ4'"
_SETTINGS = (
    f"{_CODEC}, min_age_to_force_merge_seconds = {_MERGE_SECONDS}, min_age_to_force_merge_on_partition_only = 1, "
    "merge_with_ttl_timeout = 86400"
)


def folded(text: str) -> str:
    """SQL for a text as search compares it: without case and accents, words apart by spaces or ASCII signs.

    Han, Kana and Thai are written without spaces: each of their letters is a word.
    """
    plain = f"removeAccentsUTF8(caseFoldUTF8({text}))"
    apart = r"[^\\p{L}\\p{N}]+|([\\p{Han}\\p{Hiragana}\\p{Katakana}\\p{Thai}])"
    return f"if(isValidASCII({text}), lower({text}), replaceRegexpAll({plain}, '{apart}', ' \\\\1 '))"


def _texts(schema: ProductSchema) -> str:
    """SQL for all texts of a row of ``product_versions`` whose fields are parsed as ``d``."""
    parts = ["sku", "name", *filter(None, map(_text_of, schema.fields))]
    return f"arrayStringConcat([{', '.join(parts)}], ' ')"


def _text_of(field: SchemaField) -> str | None:
    """SQL for the text of a field that holds words; addresses, numbers and prices hold none."""
    if field.type not in ("string", "array"):
        return None
    entry = f"d.{quote_identifier(field.name)}"
    inner = "Array(String)" if field.type == "array" else "String"
    levels = field.localizable + field.scopable
    if not levels:
        return f"arrayStringConcat({entry}, ' ')" if field.type == "array" else f"ifNull({entry}, '')"
    kind = inner
    for _ in range(levels):
        kind = f"Map(String, {kind})"
    values = f"mapValues(JSONExtract({entry}, '{kind}'))"
    if levels == 2:
        values = f"arrayFlatten(arrayMap(m -> mapValues(m), {values}))"
    elif field.type == "array":
        values = f"arrayFlatten({values})"
    return f"arrayStringConcat({values}, ' ')"


def _loaded(clickhouse: Client, tenant: TenantInfo, schema: ProductSchema, after: int) -> bool:
    """Load what is due; False where there is no such table, as in a ClickHouse that was set up anew."""
    try:
        _load_table(clickhouse, tenant, schema, after)
    except DatabaseError as error:
        if "UNKNOWN_TABLE" not in str(error) and "UNKNOWN_DATABASE" not in str(error):
            raise
        return False
    return True


def _ensure_table(clickhouse: Client, tenant: TenantInfo, schema: ProductSchema, after: int) -> int:
    """Make, widen or rebuild ``product_rows`` and its view; returns the commit number to load from."""
    database = quote_identifier(tenant.relation)
    clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    wanted = {name: kind for name, kind, _ in _FIXED_CLICKHOUSE} | dict(_SEARCHED)
    wanted |= {c.name: c.clickhouse_type for c in columns_of(schema)}
    known = clickhouse.query(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = 'product_rows'",
        parameters={"database": tenant.relation},
    )
    found: dict[str, str] = {str(name): str(kind) for name, kind in known.result_rows}
    if found and any(wanted.get(name) != kind for name, kind in found.items()):
        clickhouse.command(f"DROP TABLE {database}.product_rows SYNC")
        found = {}
    if not found:
        columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in wanted.items())
        clickhouse.command(
            f"CREATE TABLE IF NOT EXISTS {database}.product_rows "
            f"({columns}, INDEX words {WORDS} TYPE text(tokenizer = '{_TOKENIZER}'), "
            f"INDEX names {NAME} TYPE text(tokenizer = '{_TOKENIZER}')) "
            f"ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY sku_key SETTINGS {_SETTINGS}"
        )
        after = 0
    else:
        clickhouse.command(f"ALTER TABLE {database}.product_rows MODIFY SETTING {_CODEC}")  # of parts still to come
        # A field that is new has no values in rows written before it, so a new empty column is exact.
        for name in [name for name in wanted if name not in found]:
            clickhouse.command(
                f"ALTER TABLE {database}.product_rows ADD COLUMN IF NOT EXISTS {quote_identifier(name)} {wanted[name]}"
            )
    shown = ", ".join(quote_identifier(name) for name in (*FIXED, *(c.name for c in columns_of(schema))))
    clickhouse.command(
        f"CREATE OR REPLACE VIEW {database}.products AS SELECT {shown} FROM {database}.product_rows FINAL"
    )
    return after


#: Bytes of `data` that one statement reads. It holds several times as much while it sorts and writes: four million
#: products of 260 bytes at once need more than the 2 GiB that a query may take by default.
SLICE_BYTES = 128 * 1024 * 1024
_SAMPLED_KEYS = 4096


def _load_table(clickhouse: Client, tenant: TenantInfo, schema: ProductSchema, after: int) -> None:
    columns = columns_of(schema)
    names = [*(name for name, _, _ in _FIXED_CLICKHOUSE), WORDS, NAME, NAME_WORDS]
    names += [column.name for column in columns]
    values = [*(value for _, _, value in _FIXED_CLICKHOUSE), folded("texts"), f"{folded('name')} AS folded_name"]
    values += [f"length(tokens(folded_name, '{_TOKENIZER}'))", *(column.clickhouse for column in columns)]
    # One parse per row: a Tuple is extracted at once, a function per field would parse the JSON as often.
    parsed = "".join(
        f", JSONExtract(data, 'Tuple({_escape(_tuple_type(part))})') AS d{number}"
        for number, part in enumerate(_parts(schema))
    )
    selected = _in_parts(schema, f"SELECT {', '.join(values)} FROM (SELECT *, {_texts(schema)} AS texts ")
    due = {"tenant": str(tenant.id), "after": after}
    rows, live, slices = _slices(clickhouse, due)
    if rows >= MANY and not live and _is_empty(clickhouse, tenant):
        # A tombstone for each row would say the same, and keep the room of both.
        clickhouse.command(
            f"TRUNCATE TABLE {quote_identifier(tenant.relation)}.product_rows", settings={"max_table_size_to_drop": 0}
        )
        return
    for keys, bounds in slices:
        clickhouse.command(
            f"INSERT INTO {quote_identifier(tenant.relation)}.product_rows ({', '.join(map(quote_identifier, names))}) "
            f"{selected}FROM (SELECT *{parsed} FROM segmentation.product_versions "
            f"WHERE tenant_id = {{tenant:String}} AND version > {{after:UInt64}}{keys}))",
            parameters=due | bounds,
            settings={"materialize_skip_indexes_on_insert": int(rows <= _INDEXED_ROWS)},
        )


def _is_empty(clickhouse: Client, tenant: TenantInfo) -> bool:
    """Whether no product of the tenant is left in what is published."""
    found = clickhouse.query(
        "SELECT 1 FROM segmentation.product_versions FINAL WHERE tenant_id = {tenant:String} LIMIT 1",
        parameters={"tenant": str(tenant.id)},
    )
    return not found.result_rows


#: Fields that are extracted together. Each field of a tuple costs what the tuple's type does: one of a thousand fields
#: took ClickHouse a minute for a single row, ten of a hundred take seconds.
_TOGETHER = 100


def _parts(schema: ProductSchema) -> list[tuple[SchemaField, ...]]:
    return [schema.fields[at : at + _TOGETHER] for at in range(0, len(schema.fields), _TOGETHER)]


def _tuple_type(fields: Sequence[SchemaField]) -> str:
    return ", ".join(f"{quote_identifier(field.name)} {_extracted(field)}" for field in fields)


def _in_parts(schema: ProductSchema, expressions: str) -> str:
    """Expressions over one tuple ``d`` of all fields as expressions over the tuples that there are."""
    part_of = {field.name: number for number, part in enumerate(_parts(schema)) for field in part}
    return re.sub(r"\bd\.`([a-z0-9_]+)`", lambda found: f"d{part_of[found[1]]}.`{found[1]}`", expressions)


def _slices(clickhouse: Client, due: dict[str, object]) -> tuple[int, bool, list[tuple[str, dict[str, str]]]]:
    """The number of rows, whether some are no tombstones, and ranges of keys: each a condition and its parameters.

    A range holds about SLICE_BYTES. Ranges rather than hashes, because the key is the order of both tables: each
    statement reads its own stretch.
    """
    found = clickhouse.query(
        f"SELECT count(), sum(length(data)), arraySort(groupArraySample({_SAMPLED_KEYS}, 1)(hex(sku_key))), "
        "min(is_deleted) = 0 "
        "FROM segmentation.product_versions WHERE tenant_id = {tenant:String} AND version > {after:UInt64}",
        parameters=due,
    )
    rows, size, sample, live = found.result_rows[0]
    count = min(-(-int(size) // SLICE_BYTES), len(sample))
    edges = sorted({sample[len(sample) * number // count] for number in range(1, count)})
    if not edges:
        return int(rows), bool(live), [("", {})]
    between = [
        (" AND sku_key >= unhex({first:String}) AND sku_key < unhex({last:String})", {"first": first, "last": last})
        for first, last in itertools.pairwise(edges)
    ]
    ranges = [
        (" AND sku_key < unhex({last:String})", {"last": edges[0]}),
        *between,
        (" AND sku_key >= unhex({first:String})", {"first": edges[-1]}),
    ]
    return int(rows), bool(live), ranges


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def typed_rows(clickhouse: Client, tenant: TenantInfo) -> int:
    """How many products the typed relation in ClickHouse shows."""
    with clickhouse_errors("counting the typed relation"):
        counted = clickhouse.query(f"SELECT count() FROM {quote_identifier(tenant.relation)}.products")
    return int(counted.result_rows[0][0])
