"""The field-level diff of an import, put together again from what its commit left: products, change log, rejects.

Nothing of the code that makes a preview is used, so that equal bytes mean that a promotion did what was shown.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from sqlalchemy import text

from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.preview import csv_pieces
from pim_platform.catalog.staged import FIELD_PREFIX, RAW_PREFIX
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.mapping import Mapping
from pim_platform.intake.models import ImportJob
from pim_platform.intake.nameless import NAMELESS
from pim_platform.intake.previews import preview_files
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session

_SCHEMA = {
    "row": pl.Int64,
    "sku": pl.String,
    "product_id": pl.String,
    "action": pl.String,
    "field": pl.String,
    "old": pl.String,
    "new": pl.String,
}

_CREATED = """
SELECT p.source_row, p.sku_key, NULL, 'create', f.key, NULL, f.value::text
FROM pim.products p
CROSS JOIN LATERAL jsonb_each(jsonb_strip_nulls(jsonb_build_object(
  'name', p.name, 'active', p.active, 'kind', p.kind, 'variant_group', p.variant_group)) || p.data) f
WHERE p.tenant_id = :tenant AND p.created_seq = :seq AND p.commit_seq = :seq AND p.job_id = :job
"""
_CHANGED = """
SELECT p.source_row, c.sku_key, c.product_id::text, 'update', k.key, (c.old -> k.key)::text, (c.new -> k.key)::text
FROM pim.product_changes c JOIN pim.products p ON p.tenant_id = c.tenant_id AND p.id = c.product_id
CROSS JOIN LATERAL jsonb_object_keys(c.old || c.new) k (key)
WHERE c.tenant_id = :tenant AND c.commit_seq = :seq AND c.action = 'update'
"""
_DELETED = """
SELECT NULL::bigint, c.image_sku, c.product_id::text, 'delete', 'name', to_jsonb(c.image_name)::text, NULL
FROM pim.product_changes c WHERE c.tenant_id = :tenant AND c.commit_seq = :seq AND c.action = 'delete'
"""


def previewed_diff(workspace: Workspace, job: ImportJob) -> bytes:
    """The preview of a dry run as its export gives it."""
    with preview_files(workspace, job) as files:
        return b"".join(csv_pieces(files))


def committed_diff(workspace: Workspace, job: ImportJob) -> bytes:
    """The same, of what the promotion of ``job`` committed; to be asked before anybody writes again."""
    given, spelled, nameless = _staged(workspace, job)
    about = {"tenant": job.tenant_id, "seq": job.commit_seq, "job": job.id}
    with tenant_session(workspace.app, job.tenant_id) as session:
        created = session.execute(text(_CREATED), about).all()
        changed = session.execute(text(_CHANGED), about).all()
        deleted = session.execute(text(_DELETED), about).all()
        stored = {
            row.sku_key: row.sku
            for row in session.execute(text("SELECT sku_key, sku FROM pim.products WHERE tenant_id = :tenant"), about)
        }
    lines: list[tuple[Any, ...]] = [(row[0], spelled[row[1]], *row[2:]) for row in created if row[4] in given]
    for row in changed:
        if row[1] in spelled:
            lines.append((row[0], spelled[row[1]], *row[2:]))
        else:  # no record of the file names it: the feed lacks it
            lines.append((None, stored[row[1]], row[2], "deactivate", *row[4:]))
    lines += [tuple(row) for row in deleted]
    lines += [(number, spelled[key], None, "reject", "name", None, None) for number, key in nameless]
    place = {name: number for number, name in enumerate(given)}
    lines.sort(key=lambda x: (x[0] is None, x[0] or 0, 0 if x[0] is None else place.get(x[4], 0), x[4], x[1].encode()))
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row").write_csv().encode()


def _staged(workspace: Workspace, job: ImportJob) -> tuple[list[str], dict[str, str], list[tuple[int, str]]]:
    """What the attempt staged: names in the order of its columns, the first spelling of each key, and the records
    (number, key) that name no product there is and give no name."""
    manifest = read_manifest(workspace, job)
    column = Mapping.model_validate({"columns": job.mapping}).column_of("sku")
    assert column is not None
    with ExitStack() as stack:
        parts = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.staged]
        bad = [stack.enter_context(workspace.objects.local_copy(key)) for key in manifest.rejects]
        names = [n.removeprefix(FIELD_PREFIX) for n in (pq.read_schema(parts[0]).names if parts else [])]
        spelled: dict[str, str] = {}
        for part in parts:
            for sku, key in (
                pl.read_parquet(part, columns=["row", "sku", "sku_key"]).sort("row")["sku", "sku_key"].rows()
            ):
                spelled.setdefault(key, sku)
        rejected = [pl.read_parquet(path, columns=["row", "error_code", f"{RAW_PREFIX}{column.index}"]) for path in bad]
    told = [(row, sku_key(sku)) for frame in rejected for row, code, sku in frame.rows() if code == NAMELESS]
    return names, spelled, told
