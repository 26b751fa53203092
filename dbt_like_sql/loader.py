"""Read SQL models and say which statements build their tables. Pure: no server, no Dagster.

A model is one SELECT in ``<engine>/<name>.sql`` under a block of comments::

    -- name: reject_reasons                      the file's name; the table is models.<name>
    -- description: Why records were rejected.
    -- engine: postgres                          the folder's name
    -- cadence: hourly                           hourly or daily
    -- depends on: pim.import_jobs, pim.sources  relations it reads, other models as models.<name>
    -- key: tenant_id, day                       what makes a row unique, tenant_id first
    -- columns:
    --   tenant_id uuid: the tenant
    --   day date: day the import finished, UTC

Columns are matched by name, so their order in the SELECT is free. Every table carries ``tenant_id`` and
is rebuilt as a whole; a reader sees the old rows or the new ones, never a half-built table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, get_args

from pim_platform.errors import Misconfigured

Engine = Literal["clickhouse", "postgres"]
Cadence = Literal["hourly", "daily"]

#: Where the project's own models are.
MODELS = Path(__file__).resolve().parent

#: Type of ``tenant_id`` in each engine.
TENANT_TYPES: dict[Engine, str] = {"clickhouse": "String", "postgres": "uuid"}

_KEYS = ("name", "description", "engine", "cadence", "depends on", "key", "columns")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RELATION = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_(), ']*")


@dataclass(frozen=True)
class Column:
    """One column of a model's table."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Model:
    """One SQL model."""

    name: str
    description: str
    engine: Engine
    cadence: Cadence
    depends_on: tuple[str, ...]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    #: The SELECT, without header and final semicolon.
    sql: str
    path: Path

    @property
    def table(self) -> str:
        """The table's name in its engine; both halves are plain identifiers."""
        return f"models.{self.name}"

    @property
    def column_names(self) -> str:
        """The columns, in the order of the header, for a statement."""
        return ", ".join(f'"{column.name}"' for column in self.columns)

    def materialisation(self, readers: Sequence[str] = ()) -> tuple[str, ...]:
        """The statements that rebuild the table, in order.

        PostgreSQL's belong in one transaction; the last one inserts the rows. ``readers`` are PostgreSQL
        roles that may read their tenant's rows. ClickHouse takes one statement.
        """
        return _postgres(self, readers) if self.engine == "postgres" else (_clickhouse(self),)


def load_models(folder: Path = MODELS) -> list[Model]:
    """Every model below ``folder``, ordered by engine and name.

    Raises Misconfigured, naming file and line, for the first that is not as it should be.
    """
    models = [load_model(path) for engine in get_args(Engine) for path in sorted((folder / engine).glob("*.sql"))]
    for model in models:
        peers = {peer.table for peer in models if peer.engine == model.engine and peer is not model}
        for relation in model.depends_on:
            if relation.startswith("models.") and relation not in peers:
                _refuse(
                    model.path,
                    1,
                    f"it depends on {relation}, which is no other {model.engine} model",
                    f"Correct `depends on`, or add {model.engine}/{relation.removeprefix('models.')}.sql.",
                )
    return models


def load_model(path: Path) -> Model:
    """The model of one file; raises as :func:`load_models` does."""
    lines = path.read_text(encoding="utf-8").splitlines()
    values, places, columns, body = _header(path, lines)
    for wanted in _KEYS:
        if wanted not in values:
            _refuse(path, 1, f"the header has no `{wanted}`", f"Add a line `-- {wanted}: ...` before the SELECT.")

    name = values["name"]
    if not _NAME.fullmatch(name) or name != path.stem:
        _refuse(
            path, places["name"], f"name {name!r} is not the file's", f"Write `-- name: {path.stem}` in snake_case."
        )
    if not values["description"]:
        _refuse(path, places["description"], "the description is empty", "Say in a sentence what a row means.")
    engine = _one_of(path, places["engine"], "engine", values["engine"], get_args(Engine))
    if engine != path.parent.name:
        _refuse(path, places["engine"], f"engine {engine!r} is not the folder's", f"Move it to {engine}/.")
    cadence = _one_of(path, places["cadence"], "cadence", values["cadence"], get_args(Cadence))

    depends_on = _split(values["depends on"])
    wrong = [relation for relation in depends_on if not _RELATION.fullmatch(relation)]
    if wrong or not depends_on:
        _refuse(
            path,
            places["depends on"],
            f"{wrong[0]!r} is no relation" if wrong else "it depends on nothing",
            "List what it reads as schema.table, separated by commas.",
        )
    key = _split(values["key"])
    _check_columns(path, places, columns, key, TENANT_TYPES[_engine(engine)])
    return Model(
        name=name,
        description=values["description"],
        engine=_engine(engine),
        cadence="hourly" if cadence == "hourly" else "daily",
        depends_on=depends_on,
        key=key,
        columns=tuple(column for column, _ in columns),
        sql=_body(path, lines, body),
        path=path,
    )


def _header(path: Path, lines: Sequence[str]) -> tuple[dict[str, str], dict[str, int], list[tuple[Column, int]], int]:
    """The header's values, the line of each, the columns with theirs, and the number of header lines."""
    values: dict[str, str] = {}
    places: dict[str, int] = {}
    columns: list[tuple[Column, int]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("--"):
            return values, places, columns, number - 1
        text = line[2:]
        if text.startswith("   ") and list(values)[-1:] == ["columns"]:
            columns.append((_column(path, number, text.strip()), number))
            continue
        key, colon, value = (part.strip() for part in text.partition(":"))
        if not colon or key not in _KEYS:
            _refuse(path, number, f"{text.strip()!r} is no header line", f"The keys are {', '.join(_KEYS)}.")
        if key in values:
            _refuse(path, number, f"`{key}` stands twice", "Keep one of the lines.")
        values[key], places[key] = value, number
    return values, places, columns, number


def _column(path: Path, number: int, text: str) -> Column:
    definition, colon, description = text.partition(": ")
    name, _, kind = definition.strip().partition(" ")
    if not colon or not _NAME.fullmatch(name) or not _TYPE.fullmatch(kind) or not description.strip():
        _refuse(path, number, f"{text!r} is no column", "Write `--   name type: what it means`.")
    return Column(name, kind, description.strip())


def _check_columns(
    path: Path,
    places: dict[str, int],
    columns: Sequence[tuple[Column, int]],
    key: tuple[str, ...],
    tenant_type: str,
) -> None:
    seen: set[str] = set()
    for column, number in columns:
        if column.name in seen:
            _refuse(path, number, f"column {column.name!r} stands twice", "Rename or remove one.")
        seen.add(column.name)
    if not any((column.name, column.type) == ("tenant_id", tenant_type) for column, _ in columns):
        _refuse(path, places["columns"], "rows without their tenant", f"Add a column `tenant_id {tenant_type}`.")
    if key[:1] != ("tenant_id",):
        _refuse(path, places["key"], "the key does not begin with tenant_id", "Put tenant_id first.")
    if unknown := [name for name in key if name not in seen]:
        _refuse(path, places["key"], f"key column {unknown[0]!r} is not among the columns", "Add or correct it.")


def _body(path: Path, lines: Sequence[str], start: int) -> str:
    body = "\n".join(lines[start:]).strip().removesuffix(";").rstrip()
    if not re.match(r"(select|with)\b", body, re.IGNORECASE):
        _refuse(path, start + 1, "the header is not followed by a SELECT", "Begin with SELECT or WITH.")
    first = start + next(index for index, line in enumerate(lines[start:], 1) if line.strip())
    for number, line in enumerate(body.splitlines(), first):
        if line.rstrip().endswith(";"):
            _refuse(path, number, "a model is one statement", "Split it into several models.")
    return body


def _one_of(path: Path, number: int, key: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        _refuse(path, number, f"{key} {value!r} is unknown", f"It is one of: {', '.join(known)}.")
    return value


def _engine(name: str) -> Engine:
    return "clickhouse" if name == "clickhouse" else "postgres"


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _refuse(path: Path, number: int, what: str, fix: str) -> NoReturn:
    raise Misconfigured(f"{path}:{number}: {what}.", fix=fix, code="invalid_model", file=str(path), row=number)


def _literal(text: str) -> str:
    """A string literal of both engines; backslashes, which they read differently, do not occur in headers."""
    return "'" + text.replace("'", "''") + "'"


def _comment(model: Model) -> str:
    shape = ", ".join(f"{column.name} {column.type}" for column in model.columns)
    return _literal(f"{model.description} Columns: {shape}; key {', '.join(model.key)}.".replace("\\", "/"))


def _clickhouse(model: Model) -> str:
    columns = ",\n  ".join(f'"{c.name}" {c.type} COMMENT {_literal(c.description)}' for c in model.columns)
    key = ", ".join(f'"{name}"' for name in model.key)
    # The new table takes the old one's place only when the SELECT has ended well.
    return (
        f"CREATE OR REPLACE TABLE {model.table}\n(\n  {columns}\n)\n"
        f"ENGINE = MergeTree ORDER BY ({key})\nCOMMENT {_comment(model)}\n"
        f"AS SELECT {model.column_names} FROM\n(\n{model.sql}\n)"
    )


def _postgres(model: Model, readers: Sequence[str]) -> tuple[str, ...]:
    columns = ",\n  ".join(f'"{column.name}" {column.type} NOT NULL' for column in model.columns)
    key = ", ".join(f'"{name}"' for name in model.key)
    comment, table = _comment(model), model.table
    # A table of another shape is made anew; its comment says the shape. A table that is kept is emptied with
    # DELETE: TRUNCATE would show readers of an older snapshot no rows at all.
    prepare = f"""DO $model$
BEGIN
  IF obj_description(to_regclass('{table}'), 'pg_class') IS DISTINCT FROM {comment} THEN
    DROP TABLE IF EXISTS {table};
    CREATE TABLE {table} (
  {columns},
  PRIMARY KEY ({key})
);
    COMMENT ON TABLE {table} IS {comment};
    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant_isolation ON {table}
      USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
    CREATE POLICY builder_writes ON {table} TO CURRENT_USER USING (true) WITH CHECK (true);
  END IF;
END $model$"""
    grants = tuple(
        statement
        for role in readers
        for statement in (f'GRANT USAGE ON SCHEMA models TO "{role}"', f'GRANT SELECT ON {table} TO "{role}"')
    )
    return (
        # Two builds at once would each delete what they see and both insert.
        f"SELECT pg_advisory_xact_lock(hashtextextended('{table}', 0))",
        prepare,
        *grants,
        f"DELETE FROM {table}",
        f"INSERT INTO {table} ({model.column_names})\nSELECT {model.column_names} FROM (\n{model.sql}\n) AS model",
    )
