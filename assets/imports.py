"""The way of one import: staged rows, products, ClickHouse, typed relations; partitioned by tenant.

A run carries out the import that the ``import_run`` resource names; without one it republishes the tenant.
Checks are made in the step that knows their answer and carry the partition, so one tenant's failure shows
on that tenant alone. Steps share one process: the lease is that process's.
"""

# No `from __future__ import annotations`: Dagster reads the types of parameters at run time.
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from assets.partitions import TENANTS
from pim_platform.catalog.checksum import Agreement, publish_and_compare
from pim_platform.catalog.typed_relations import refresh_typed_relations, typed_rows
from pim_platform.errors import Conflict, EnginesDisagree
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.jobs import get_job
from pim_platform.intake.lease import Lease, claim
from pim_platform.intake.manifests import read_manifest
from pim_platform.intake.models import ImportJob
from pim_platform.intake.running import attempt, finish_job, merge_job, publish_job, stage_job
from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import TenantInfo, find_tenant
from resources import ImportRunResource, WorkspaceResource

GROUP = "import"

STAGED_ROWS = dg.AssetKey(["intake", "staged_rows"])
PRODUCTS = dg.AssetKey(["catalog", "products"])
SEGMENTATION = dg.AssetKey(["segmentation", "products"])
TYPED = dg.AssetKey(["tenant", "products"])

_LOG_SECONDS = 1.0

_REPUBLISH = {"note": "No import was named: the run republishes the tenant."}


def _check(name: str, key: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Without it a check of one tenant shows the result of another; preview since Dagster 1.13.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=key, description=description, blocking=True, partitions_def=TENANTS)


@dg.asset(
    key=STAGED_ROWS,
    partitions_def=TENANTS,
    group_name=GROUP,
    kinds={"polars", "parquet"},
    description="The file's rows, mapped and validated, as Parquet; rejects beside them.",
)
def staged_rows(
    context: dg.AssetExecutionContext, stores: WorkspaceResource, import_run: ImportRunResource
) -> dg.MaterializeResult[None]:
    """Claim the job for a new attempt and stage its file."""
    if import_run.job is None:
        return dg.MaterializeResult(metadata=_REPUBLISH)
    workspace, tenant = _tenant(context, stores)
    claim(workspace, tenant.id, import_run.job)
    with _attempt(context, workspace, tenant, import_run.job) as (job, lease):
        if job.merged:
            return dg.MaterializeResult(metadata=_job_metadata(job) | {"note": "Merged by an earlier attempt."})
        if job.kind != "file":
            return dg.MaterializeResult(metadata=_job_metadata(job) | {"note": "There is no file to stage."})
        start = time.perf_counter()
        manifest = stage_job(workspace, job, lease)
        seconds = time.perf_counter() - start
    return dg.MaterializeResult(
        metadata=_job_metadata(job)
        | {
            "read": manifest.read,
            "valid": manifest.valid,
            "rejected": manifest.rejected,
            "reject_reasons": dg.MetadataValue.json(manifest.reasons),
            "repairs": dg.MetadataValue.json(manifest.repairs),
            "sample_rejects": dg.MetadataValue.json(manifest.sample_rejects),
            "rows_per_second": round(manifest.read / max(seconds, 1e-9)),
            "seconds": round(seconds, 3),
        }
    )


@dg.asset(
    key=PRODUCTS,
    deps=[STAGED_ROWS],
    partitions_def=TENANTS,
    group_name=GROUP,
    kinds={"postgres"},
    check_specs=[_check("ledger_balances", PRODUCTS, "Every record read is accounted for exactly once (design D4).")],
    description="The tenant's products in PostgreSQL, the system of record.",
)
def products(
    context: dg.AssetExecutionContext, stores: WorkspaceResource, import_run: ImportRunResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Diff the staged rows against the catalogue and, unless it is a dry run, merge them."""
    if import_run.job is None:
        yield dg.MaterializeResult(metadata=_REPUBLISH, check_results=[_passed("ledger_balances", _REPUBLISH)])
        return
    workspace, tenant = _tenant(context, stores)
    start = time.perf_counter()
    with _attempt(context, workspace, tenant, import_run.job) as (job, lease):
        if not job.merged:
            job = merge_job(workspace, job, lease)
    seconds = time.perf_counter() - start
    if job.state == "held":
        held = {"note": job.reason or "held"}
        yield dg.MaterializeResult(metadata=held, check_results=[_passed("ledger_balances", held)])
        return
    ledger = job.ledger() or {}
    balanced = sum(ledger.values()) == 2 * ledger.get("read", -1)
    rate = round(ledger.get("read", 0) / max(seconds, 1e-9))
    yield dg.MaterializeResult(
        metadata=_job_metadata(job)
        | {
            "ledger": dg.MetadataValue.json(ledger),
            **{name: dg.MetadataValue.int(count) for name, count in ledger.items()},
            "reject_reasons": dg.MetadataValue.json(job.reject_reasons),
            "repairs": dg.MetadataValue.json(job.repairs),
            "sample_rejects": dg.MetadataValue.json(
                read_manifest(workspace, job).sample_rejects if job.kind == "file" else []
            ),
            "rows_per_second": rate,
            "seconds": round(seconds, 3),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="ledger_balances", passed=balanced, metadata={"ledger": dg.MetadataValue.json(ledger)}
            )
        ],
    )


@dg.asset(
    key=SEGMENTATION,
    deps=[PRODUCTS],
    partitions_def=TENANTS,
    group_name=GROUP,
    kinds={"clickhouse"},
    check_specs=[
        _check("engines_agree", SEGMENTATION, "Row checksums of PostgreSQL and ClickHouse are equal (design D10).")
    ],
    description="The same products in ClickHouse, as other systems read them.",
)
def segmentation(
    context: dg.AssetExecutionContext, stores: WorkspaceResource, import_run: ImportRunResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Publish what is committed and compare the engines row by row."""
    workspace, tenant = _tenant(context, stores)
    start = time.perf_counter()
    try:
        if _is_import(workspace, tenant, import_run):
            with _attempt(context, workspace, tenant, _named(import_run)) as (job, lease):
                found = publish_job(workspace, job, lease)
        else:
            found = publish_and_compare(workspace.app, workspace.clickhouse, tenant.id)
    except EnginesDisagree:  # the job has failed with the reason; the check shows the numbers
        found = publish_and_compare(workspace.app, workspace.clickhouse, tenant.id)
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.clickhouse_rows,
            "seconds": round(time.perf_counter() - start, 3),
        },
        check_results=[_agreement(found)],
    )


@dg.asset(
    key=TYPED,
    deps=[SEGMENTATION],
    partitions_def=TENANTS,
    group_name=GROUP,
    kinds={"clickhouse", "postgres"},
    description="tenant_<slug>.products in both engines: one column per schema field, for analysts.",
)
def typed_relations(
    context: dg.AssetExecutionContext, stores: WorkspaceResource, import_run: ImportRunResource
) -> dg.MaterializeResult[None]:
    """Refresh the typed relations and end the import."""
    workspace, tenant = _tenant(context, stores)
    if _is_import(workspace, tenant, import_run):
        with _attempt(context, workspace, tenant, _named(import_run)) as (job, lease):
            finish_job(workspace, job, lease)
    else:
        refresh_typed_relations(workspace.app, workspace.ddl, workspace.clickhouse, tenant)
    rows = typed_rows(workspace.clickhouse, tenant)
    return dg.MaterializeResult(metadata={"relation": f"{tenant.relation}.products", "dagster/row_count": rows})


def _tenant(context: dg.AssetExecutionContext, stores: WorkspaceResource) -> tuple[Workspace, TenantInfo]:
    workspace = stores.workspace()
    return workspace, find_tenant(workspace.app, context.partition_key)


@contextmanager
def _attempt(
    context: dg.AssetExecutionContext, workspace: Workspace, tenant: TenantInfo, job_id: UUID
) -> Iterator[tuple[ImportJob, Lease]]:
    """The run's attempt, whose progress is put into Dagster's log once a second while it changes."""
    with attempt(workspace, tenant.id, job_id) as (job, lease):
        stop = threading.Event()

        def log() -> None:
            last = None
            while not stop.wait(_LOG_SECONDS):
                told = progress_line(lease.progress)
                if told != last:
                    with suppress(SQLAlchemyError, dg.DagsterError):  # the step's own events meet the same storage
                        context.log.info(told)
                    last = told

        thread = threading.Thread(target=log, name=f"log-{job_id}", daemon=True)
        thread.start()
        try:
            yield job, lease
        except dg.DagsterExecutionInterruptedError:
            run = context.instance.get_run_by_id(context.run_id)
            # A stack that stops interrupts its runs, and the next start takes the import up; who ends the run in
            # Dagster's pages wants the import to end.
            if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
                with suppress(Conflict):  # merged already: what is committed is published by the next run
                    cancel_job(workspace, tenant.id, job_id, Actor("dagster"))
            raise
        finally:
            stop.set()
            thread.join()


def progress_line(progress: Mapping[str, Any]) -> str:
    """Progress for people, such as ``staging: 430,000 of 861,688 rows, 215,000 rows/s, 2 s left``."""
    stage, rows, total = progress.get("stage") or "starting", progress.get("rows") or 0, progress.get("total")
    if not rows:  # one long statement: that it lives is all there is to say
        return f"{stage}: {progress.get('seconds', 0):.0f} s"
    of = f" of {total:,}" if total is not None else ""
    left = progress.get("eta_seconds")
    return f"{stage}: {rows:,}{of} rows, {progress.get('rows_per_second') or 0:,} rows/s" + (
        f", {left:.0f} s left" if left is not None else ""
    )


def _named(import_run: ImportRunResource) -> UUID:
    assert import_run.job is not None
    return import_run.job


def _is_import(workspace: Workspace, tenant: TenantInfo, import_run: ImportRunResource) -> bool:
    """Whether the run carries an import that has been merged: a dry run or a held one has nothing to publish."""
    if import_run.job is None:
        return False
    with tenant_session(workspace.app, tenant.id) as session:
        job = get_job(session, import_run.job)
        return not job.dry_run and job.state != "held"


def _job_metadata(job: ImportJob) -> dict[str, Any]:
    return {"job_id": str(job.id), "attempt": job.attempt, "file": job.filename, "dry_run": job.dry_run}


def _passed(name: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=True, metadata=metadata)


def _agreement(found: Agreement) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="engines_agree",
        passed=found.equal,
        metadata={
            "postgres_rows": found.postgres_rows,
            "clickhouse_rows": found.clickhouse_rows,
            "postgres_checksum": str(found.postgres_sum),
            "clickhouse_checksum": str(found.clickhouse_sum),
        },
    )


ASSETS = [staged_rows, products, segmentation, typed_relations]

IMPORT_JOB = dg.define_asset_job(
    "import_products",
    selection=dg.AssetSelection.assets(STAGED_ROWS, PRODUCTS, SEGMENTATION, TYPED),
    # One process for all steps: each further process costs seconds, and the lease is this process's.
    executor_def=dg.in_process_executor,
    description="Carries out one import, or republishes the tenant where none is named.",
)
