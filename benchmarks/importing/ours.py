"""Our import of a file, timed from opening it until both engines agree, in a process of its own.

``python -m benchmarks.importing.ours FILE [CHANGED]`` needs a migrated home in the environment. It prints one JSON
object: seconds of each operation with its stages, the start-up, and the process's peak memory in MB. Without CHANGED
it measures the first import alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.importing.processors import Processors, between

_BEGAN = time.perf_counter()

WARM_UP = b"sku,name,price\n" + b"".join(b"W-%d,Warm,1.50\n" % n for n in range(500))


class Bench:
    """One tenant and its stores."""

    def __init__(self) -> None:
        from pim_platform.intake.workspace import Workspace
        from pim_platform.local.home import Home
        from pim_platform.settings import get_settings
        from pim_platform.tenancy.audit import Actor
        from pim_platform.tenancy.tenants import create_tenant

        self.workspace = Workspace(get_settings())
        self.processors = Processors(Home(get_settings().home_path))
        self.actor = Actor("benchmark")
        self.tenant = create_tenant(
            self.workspace.app,
            "b" + uuid.uuid4().hex[:10],
            currency="EUR",
            locale="en-US",
            timezone="UTC",
            actor=self.actor,
        )

    def import_file(self, path: Path) -> tuple[uuid.UUID, dict[str, Any]]:
        """Land, propose, confirm and run a file; returns the job's id and the seconds of each stage."""
        from pim_platform.intake.confirming import confirm_job
        from pim_platform.intake.landing import land
        from pim_platform.intake.lease import claim
        from pim_platform.intake.proposing import propose_job
        from pim_platform.intake.running import attempt, finish_job, merge_job, publish_job, stage_job

        watch = _Watch(self.processors)
        with path.open("rb") as content:
            job_id = land(
                self.workspace,
                self.tenant.id,
                content,
                filename=path.name,
                source="benchmark",
                origin="cli",
                actor=self.actor,
            ).job_id
        watch.lap("land")
        propose_job(self.workspace, self.tenant.id, job_id)
        confirm_job(self.workspace, self.tenant.id, job_id, actor=self.actor)
        watch.lap("propose")
        claim(self.workspace, self.tenant.id, job_id)
        with attempt(self.workspace, self.tenant.id, job_id) as (job, lease):
            stage_job(self.workspace, job, lease)
            watch.lap("stage")
            job = merge_job(self.workspace, job, lease)
            watch.lap("merge")
            publish_job(self.workspace, job, lease)
            watch.lap("publish and compare")
            job = finish_job(self.workspace, job, lease)
            watch.lap("typed relations")
        figures = {"seconds": watch.total, "stages": watch.laps, "processors": watch.spent}
        return job_id, {**figures, "ledger": job.ledger()}


class _Watch:
    """Seconds of each stage, on the wall and of the processors."""

    def __init__(self, processors: Processors) -> None:
        self._processors = processors
        self._read = processors.spent()
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}
        self.spent: dict[str, dict[str, float]] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self.last, 3)
        read = self._processors.spent()
        self.spent[name] = between(self._read, read)
        self._read, self.last = read, time.perf_counter()

    @property
    def total(self) -> float:
        return round(self.last - self.start, 3)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 3)


def main(first: Path, changed: Path | None) -> None:
    """Run first import; then the same again, every price changed, its undo, and the deletion of all."""
    bench = Bench()
    warm = first.with_name("warm.csv")
    warm.write_bytes(WARM_UP)
    bench.import_file(warm)
    answer: dict[str, Any] = {"start_up": round(time.perf_counter() - _BEGAN, 3)}
    bench = Bench()  # a tenant of its own: the warm-up's products are not in the way
    _, answer["first"] = bench.import_file(first)
    if changed is not None:
        _, answer["unchanged"] = bench.import_file(first)
        job_id, answer["update"] = bench.import_file(changed)
        answer |= _reversals(bench, job_id)
    answer["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(answer))


def _reversals(bench: Bench, job_id: uuid.UUID) -> dict[str, Any]:
    """Undo the update of every row, then delete all products; both until ClickHouse has followed."""
    from pim_platform.catalog.deleting import Selection
    from pim_platform.intake.removing import delete_selection
    from pim_platform.intake.undoing import undo_job

    where = (bench.workspace, bench.tenant.id)
    undo = timed(lambda: undo_job(*where, job_id, actor=bench.actor, origin="cli"))
    watch = _Watch(bench.processors)
    deleted = delete_selection(*where, Selection(everything=True), actor=bench.actor, origin="cli")
    watch.lap("delete")
    figures = {"seconds": watch.total, "rows": deleted.deleted, "processors": watch.spent}
    return {"undo": {"seconds": undo}, "delete": figures}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
