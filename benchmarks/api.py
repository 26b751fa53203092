"""How fast is the API where there are a million products? Latencies, rates, and whether anything fails.

::

    uv run python benchmarks/api.py [--json] [--products 1000000] [--neighbours 1000] [--soak 240] [--seconds 15]

One tenant of so many products beside others of 1,000 each, loaded through the merge and the publisher; the API as it
is deployed, with two processes; the load from a process of its own on the same cores, with a key without rate limit.
Then 25 users for ``--soak`` seconds (the promise is for 600) while a file of 861,688 rows is imported into that very
tenant; 0 leaves it out. Figures that are there when something breaks off are printed all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import text

from benchmarks.files import ADJECTIVES, MAKERS, NOUNS, ROWS, write_twelve_columns
from benchmarks.importing.processors import Processors, between
from benchmarks.serving.catalogues import ACTOR, compact, fill, fill_neighbours, staged
from benchmarks.serving.pgbench import pages_per_second
from pim_platform.catalog.products import encode_cursor
from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.local.home import Home
from pim_platform.local.parts import environment
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.keys import create_key
from pim_platform.tenancy.tenants import TenantInfo

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("products", "list_p95_ms", "search_p95_ms", "over_pgbench", "bulk_10k_s", "failed", "list_u100_p95_ms")
#: Clients of each figure: how many, and how many seconds each thinks between two requests.
CROWDS = {"c1": (1, 0.0), "c8": (8, 0.0), "u25": (25, 1.0)}
BULK = 10_000
_SAMPLE = 5_000


def main() -> None:
    """Measure, print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--neighbours", type=int, default=1_000)
    parser.add_argument(
        "--soak", type=int, default=240, help="seconds of 25 users beside an import; 600 is the promise"
    )
    parser.add_argument("--soak-rows", type=int, default=ROWS, help="rows of that import")
    parser.add_argument("--seconds", type=int, default=15, help="seconds of each phase of load")
    parser.add_argument("--workers", type=int, default=2, help="processes of the API")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found: dict[str, Any] = {"products": options.products, "detail": {"options": vars(options)}}
    with tempfile.TemporaryDirectory(prefix="pim-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded server's own user must reach its data
        settings = Settings(
            home=folder / "home",
            port=27_000 + uuid.uuid4().int % 400 * 10,
            api_workers=options.workers,
            rate_limit_requests=0,
            rate_limit_address_requests=0,
            log_level="WARNING",
        )
        try:
            with engines(settings):
                measure(settings, folder, options, found)
        except (Exception, KeyboardInterrupt) as error:
            found["broken_off"] = f"{type(error).__name__}: {error}"
            report(found, as_json=options.json)
            raise
    report(found, as_json=options.json)


def measure(settings: Settings, folder: Path, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """All figures, put into ``found`` as they come."""
    workspace, detail = Workspace(settings), found["detail"]
    processors = Processors(Home(settings.home_path))
    began = time.perf_counter()
    say(f"one tenant of {options.products:,} products")
    files = staged(options.products, folder)
    tenant = fill(workspace, "main", files)
    for file in files:
        file.unlink()
    detail["load_s"] = round(time.perf_counter() - began, 1)
    say(f"loaded in {detail['load_s']} s; {options.neighbours:,} tenants of 1,000")
    began = time.perf_counter()
    fill_neighbours(workspace, options.neighbours, 1_000, say)
    detail["neighbours_s"] = round(time.perf_counter() - began, 1)
    compact(workspace, tenant)
    with workspace.app.connect() as connection:
        connection.execute(text("SELECT 1"))
    analyse(settings)
    detail["memory_mb"] = memory(settings)
    say(f"neighbours in {detail['neighbours_s']} s; memory {detail['memory_mb']}")
    key = create_key(workspace.app, tenant.id, role="editor", name="benchmark", actor=ACTOR)
    plan = questions(workspace, tenant) | {"key": key, "host": "127.0.0.1", "port": Endpoints.of(settings).ports.api}
    with api(settings, folder) as address:
        figures = detail["load"] = {}
        found["list_p95_ms"], found["search_p95_ms"] = {}, {}
        for crowd, (users, think) in CROWDS.items():
            for kind in ("list", "search"):
                seconds = options.seconds * (2 if think else 1)
                phase = {"name": f"{kind}_{crowd}", "kind": kind, "users": users, "think": think, "seconds": seconds}
                before = processors.spent()
                figures[phase["name"]] = seen = load(plan, phase)
                seen["processor_s"] = between(before, processors.spent())
                found[f"{kind}_p95_ms"][crowd] = seen["p95_ms"]
        rates = []
        for clients in (4, 8, 16):
            seen = load(plan, phase_of(f"pages_c{clients}", "page", clients, 0.0, options.seconds / 2))
            figures[seen["name"]] = seen
            rates.append(seen["per_second"])
        url = Endpoints.of(settings).app_url
        detail["pgbench"] = {
            clients: pages_per_second(
                url, tenant.id, options.products, clients=clients, seconds=max(3, options.seconds // 2)
            )
            for clients in (2, 8)
        }
        best = max(detail["pgbench"].values())
        found["over_pgbench"] = round(max(rates) / best, 3)
        say(f"pages: {max(rates):,.0f}/s, pgbench {best:,.0f}/s, {found['over_pgbench']}x")
        figures["list_u100"] = load(plan, phase_of("list_u100", "page", 100, 1.0, options.seconds))
        found["list_u100_p95_ms"] = figures["list_u100"]["p95_ms"]
        found["bulk_10k_s"] = bulk(address, key, detail)
        found["failed"] = sum(seen["failed"] for seen in figures.values())
        if options.soak:
            found["failed"] += soak(settings, folder, tenant, plan, options, detail)


def phase_of(name: str, kind: str, users: int, think: float, seconds: float) -> dict[str, Any]:
    """A phase of load."""
    return {"name": name, "kind": kind, "users": users, "think": think, "seconds": seconds}


def questions(workspace: Workspace, tenant: TenantInfo) -> dict[str, Any]:
    """What the load asks for: places in the catalogue, ids, SKUs, words."""
    with tenant_session(workspace.app, tenant.id) as session:
        rows = session.execute(
            text(
                "SELECT sku_key, id, sku FROM (SELECT sku_key, id, sku, row_number() OVER (ORDER BY sku_key) AS n, "
                "count(*) OVER () AS every FROM pim.products WHERE tenant_id = :tenant) p "
                "WHERE n % greatest(every / :sample, 1) = 0"
            ),
            {"tenant": tenant.id, "sample": _SAMPLE},
        ).all()
    return {
        "cursors": [encode_cursor(row.sku_key) for row in rows],
        "ids": [str(row.id) for row in rows],
        "skus": [row.sku for row in rows],
        "words": {"brands": MAKERS, "nouns": NOUNS, "adjectives": ADJECTIVES},
    }


def analyse(settings: Settings) -> None:
    """Statistics for the planner, as autovacuum makes them sooner or later."""
    import psycopg

    with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE pim.products")


@contextmanager
def api(settings: Settings, folder: Path) -> Iterator[str]:
    """The API as ``pim up`` starts it; yields its address."""
    address = f"http://127.0.0.1:{Endpoints.of(settings).ports.api}"
    log = (folder / "api.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "pim_platform.api.main"],
        env={**os.environ, **environment(settings)},
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{address}/health/ready", timeout=30, trust_env=False).is_success:
                    break
            except httpx.HTTPError:
                pass
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API did not start: {(folder / 'api.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def load(plan: dict[str, Any], phase: dict[str, Any], *, quiet: bool = False) -> dict[str, Any]:
    """One phase of load, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.load"],
        input=json.dumps(plan | {"phases": [phase]}),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not quiet:
        say(
            f"{seen['name']}: {seen['requests']:,} requests, {seen['per_second']}/s, p50 {seen['p50_ms']} ms, "
            f"p95 {seen['p95_ms']} ms, failed {seen['failed']} "
            + " ".join(f"[{name} {kind['p50_ms']}/{kind['p95_ms']}]" for name, kind in seen["kinds"].items())
        )
        for failure in seen["failures"][:2]:
            say(f"  {failure}")
    return seen


def bulk(address: str, key: str, detail: dict[str, Any]) -> float:
    """Median seconds of upserts of 10,000 products, half of them new."""
    seconds = []
    with httpx.Client(timeout=120, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        for turn in range(3):
            records = [
                {
                    "sku": f"BULK-{number + turn * BULK // 2:07}",
                    "name": f"Bulk product {number} {turn}",
                    "price": {"amount": number / 100, "currency": "EUR"},
                    "brand": "Bulk",
                    "weight": number % 100,
                    "colour": "red",
                }
                for number in range(BULK)
            ]
            began = time.perf_counter()
            answer = client.post(f"{address}/api/pim/products/bulk/", json={"products": records})
            seconds.append(round(time.perf_counter() - began, 2))
            answer.raise_for_status()
    detail["bulk_s"] = seconds
    say(f"bulk upserts of {BULK:,}: {seconds} s")
    return statistics.median(seconds)


def soak(
    settings: Settings,
    folder: Path,
    tenant: TenantInfo,
    plan: dict[str, Any],
    options: argparse.Namespace,
    detail: dict[str, Any],
) -> int:
    """25 users while an import runs in their tenant; returns how many requests failed, and 1 for the import."""
    say(f"{options.soak} s of 25 users beside an import of {options.soak_rows:,} rows")
    file = folder / "beside.csv"
    write_twelve_columns(file, options.soak_rows, price_factor=1.1)
    running = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving.beside", str(tenant.id), str(file)],
        env={**os.environ, **environment(settings)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        seen = load(plan, phase_of("soak", "mixed", 25, 1.0, options.soak))
        detail["soak"] = seen
        output, _ = running.communicate(timeout=max(600, options.soak))
    except BaseException:
        running.kill()
        running.wait()
        raise
    detail["import"] = json.loads(output.splitlines()[-1]) if running.returncode == 0 else "failed"
    say(f"import: {detail['import']}")
    return int(seen["failed"]) + int(running.returncode != 0)


def memory(settings: Settings) -> dict[str, int]:
    """Resident MB of the engines; PostgreSQL's processes together, shared pages once each."""
    import psutil

    found = {}
    for part in ("postgres", "clickhouse"):
        state = Home(settings.home_path).recall(part)
        if state is not None:
            root = psutil.Process(state.pid)
            found[part] = 0
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):  # a connection's process may just have ended
                    found[part] += process.memory_full_info().pss // 2**20
    return found


def report(found: dict[str, Any], *, as_json: bool) -> None:
    """One JSON object, or the table that people read."""
    if as_json:
        print(json.dumps({key: found.get(key) for key in (*KEYS, "broken_off")} | {"detail": found["detail"]}))
        return
    limits = {
        "list_p95_ms": {"c1": (20, 10), "c8": (80, 40), "u25": (60, 25)},
        "search_p95_ms": {"c1": (80, 40), "c8": (300, 150), "u25": (200, 100)},
    }
    print(
        f"\n{found['products']:,} products in one tenant beside {found['detail']['options']['neighbours']:,} tenants\n"
    )
    for figure, crowds in limits.items():
        for crowd, (reach, beyond) in crowds.items():
            line(f"{figure} {crowd}", found.get(figure, {}).get(crowd), f"<= {reach}", str(beyond))
    line("list page, over pgbench", found.get("over_pgbench"), ">= 0.1x", "0.3x")
    line("bulk upsert of 10,000, s", found.get("bulk_10k_s"), "<= 3", "1")
    line("failed requests", found.get("failed"), "0", "0")
    line("seed promise: list, 100 users, p95", found.get("list_u100_p95_ms"), "< 200", "")
    if "broken_off" in found:
        print(f"broken off: {found['broken_off']}")


def line(what: str, value: object, reach: str, beyond: str) -> None:
    """One figure."""
    print(f"{what:<38}{'-' if value is None else value:>10}   reach {reach:<8} beyond {beyond}")


def say(what: str) -> None:
    """Progress for whoever waits."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
