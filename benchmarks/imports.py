"""How fast are imports? Ours and others' in turn, on the same server, in one run.

::

    uv run --group peers python benchmarks/imports.py [--rows 861688] [--no-peers] [--scale] [--json]

Ratios are what counts: machines differ and are noisy, a run's own baselines are the measure. Django and dlt import the
same file where they are installed (the dependency group `peers`); ``--scale`` adds the growth of memory from 1 to 4
million rows and the time per row at 100,000 and 4 million, which takes some minutes and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.files import ROWS, write_three_columns, write_twelve_columns
from benchmarks.importing.baselines import copy_and_insert, raw_copy
from benchmarks.importing.peers import django_upsert, dlt_merge
from pim_platform.local.engines import engines
from pim_platform.local.parts import environment
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints, database_of, password_of, user_of

#: Sizes that `--scale` compares.
SMALL, MEDIUM, LARGE = 100_000, 1_000_000, 4_000_000
KEYS = (
    "rows", "first_over_copy", "first_over_insert", "unchanged_over_copy", "update_over_first", "over_django",
    "over_dlt", "peak_mb", "undo_over_update", "delete_500k_s",
)  # fmt: skip


def main() -> None:
    """Measure, print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--no-peers", action="store_true", help="leave Django and dlt out")
    parser.add_argument("--scale", action="store_true", help="measure memory and time per row up to 4 million rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pim-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded server's own user must reach its data
        settings = Settings(home=folder / "home", port=27_000 + uuid.uuid4().int % 500 * 10)
        with engines(settings):
            found = measure(settings, folder, options.rows, peers=not options.no_peers, scale=options.scale)
    if options.json:
        print(json.dumps({key: found.get(key) for key in KEYS} | {"detail": found["detail"]}))
    else:
        report(found)


def measure(settings: Settings, folder: Path, rows: int, *, peers: bool, scale: bool) -> dict[str, Any]:
    """All figures of one run."""
    say(f"writing files of {rows:,} rows")
    twelve, changed, three = folder / "twelve.csv", folder / "changed.csv", folder / "three.csv"
    write_twelve_columns(twelve, rows)
    write_twelve_columns(changed, rows, price_factor=1.07)
    write_three_columns(three, rows)
    detail: dict[str, Any] = {}
    with psycopg.connect(Endpoints.of(settings).admin_url, autocommit=True) as connection:
        say("baselines")
        copies = [raw_copy(connection, twelve, "bench_bare")]
        inserts = [copy_and_insert(connection, twelve)]
        say("ours: first, unchanged, every price changed, undo, delete")
        ours = run_ours(settings, twelve, changed)
        say("baselines once more")
        copies.append(raw_copy(connection, twelve, "bench_bare"))
        inserts.append(copy_and_insert(connection, twelve))
        copy, insert = sum(copies) / 2, sum(inserts) / 2
        for table in ("bench_bare", "bench_products"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    first, unchanged, update = (ours[name]["seconds"] for name in ("first", "unchanged", "update"))
    detail |= {"copy_s": copies, "insert_s": inserts, "ours": ours}
    found: dict[str, Any] = {
        "rows": rows,
        "first_over_copy": round(first / copy, 2),
        "first_over_insert": round(first / insert, 2),
        "unchanged_over_copy": round(unchanged / copy, 2),
        "update_over_first": round(update / first, 2),
        "peak_mb": ours["peak_mb"],
        "detail": detail,
    }
    if "undo" in ours:
        found["undo_over_update"] = round(ours["undo"]["seconds"] / update, 2)
    if "delete" in ours:
        found["delete_500k_s"] = round(ours["delete"]["seconds"] * 500_000 / ours["delete"]["rows"], 2)
    say("ours: three columns")
    detail["three_columns"] = run_ours(settings, three, three)["first"]
    if peers:
        found |= measure_peers(settings, folder, twelve, first, rows, detail)
    if scale:
        detail["scale"] = measure_scale(settings, folder)
    return found


def run_ours(settings: Settings, first: Path, changed: Path | None = None) -> dict[str, Any]:
    """Our figures, from a process of its own; without ``changed`` of the first import alone."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.importing.ours", str(first), *([str(changed)] if changed else [])],
        env={**os.environ, **environment(settings)},
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_peers(
    settings: Settings, folder: Path, file: Path, ours: float, rows: int, detail: dict[str, Any]
) -> dict[str, Any]:
    """Our rows/s over those of Django and dlt, for the same file; None where a peer is not installed."""
    url = Endpoints.of(settings).admin_url
    found: dict[str, Any] = {"over_django": None, "over_dlt": None}
    rates: dict[str, int] = {}
    if importlib.util.find_spec("django"):
        say(f"Django, {rows:,} rows")
        port = Endpoints.of(settings).ports.postgres
        login = {"NAME": database_of(url), "USER": user_of(url), "PASSWORD": password_of(url)}
        seconds = django_upsert({**login, "HOST": "127.0.0.1", "PORT": port}, file)
        rates["Django"] = round(rows / seconds)
        found["over_django"] = round(seconds / ours, 2)
    if importlib.util.find_spec("dlt"):
        for arrow, name in ((False, "dlt"), (True, "dlt of Arrow tables")):
            say(f"{name}, {rows:,} rows")
            seconds = dlt_merge(url, file, folder, arrow=arrow)
            rates[name] = round(rows / seconds)
            found["over_dlt"] = found["over_dlt"] or round(seconds / ours, 2)
    if rates:
        detail["peer_rows_per_s"] = rates
    return found


def measure_scale(settings: Settings, folder: Path) -> dict[str, Any]:
    """First imports of three sizes, each in a process of its own: peak memory, and how it and the time grow."""
    sizes: dict[str, Any] = {}
    for rows in (SMALL, MEDIUM, LARGE):
        say(f"ours: {rows:,} rows")
        file = folder / "scale.csv"
        write_twelve_columns(file, rows)
        try:
            ours = run_ours(settings, file)
        except subprocess.CalledProcessError as error:
            # What was measured before counts all the same; the child has said on stderr what failed.
            sizes[str(rows)] = {"failed": f"exit status {error.returncode}"}
            continue
        finally:
            file.unlink()
        per_million = round(ours["first"]["seconds"] * 1e6 / rows, 2)
        sizes[str(rows)] = {"peak_mb": ours["peak_mb"], "s_per_million": per_million, "first": ours["first"]}
    small, medium, large = (sizes[str(rows)] for rows in (SMALL, MEDIUM, LARGE))
    if any("failed" in size for size in (small, medium, large)):
        return {"sizes": sizes}
    return {
        "memory_growth_percent": round((large["peak_mb"] / medium["peak_mb"] - 1) * 100, 1),
        "time_per_row_ratio": round(large["s_per_million"] / small["s_per_million"], 2),
        "sizes": sizes,
    }


def report(found: dict[str, Any]) -> None:
    """The table that people read."""
    detail = found["detail"]
    ours = detail["ours"]
    scale = detail.get("scale", {})
    lines = [
        ("first import over raw COPY", found["first_over_copy"], "<= 8x", "5x"),
        ("first import over COPY + INSERT", found["first_over_insert"], "<= 1.6x", "1.3x"),
        ("unchanged re-import over raw COPY", found["unchanged_over_copy"], "<= 3x", "2x"),
        ("every price changed over first", found["update_over_first"], "<= 2.5x", "1.5x"),
        ("rows/s over Django", found.get("over_django"), ">= 6x", "12x"),
        ("rows/s over dlt merge", found.get("over_dlt"), ">= 2.5x", "5x"),
        ("peak memory, MB", found["peak_mb"], "<= 800", "400"),
        ("memory, 4M over 1M rows, %", scale.get("memory_growth_percent"), "<= 10", "0"),
        ("time per row, 4M over 100k rows", scale.get("time_per_row_ratio"), "<= 1.4x", "1x"),
        ("undo over the update", found.get("undo_over_update"), "<= 1x", "0.6x"),
        ("delete of 500k, s", found.get("delete_500k_s"), "<= 5", "2.5"),
    ]
    print(f"\n{found['rows']:,} rows x 12 columns, file to both engines\n")
    for what, value, reach, beyond in lines:
        print(f"{what:<36}{'-' if value is None else value:>10}   reach {reach:<8} beyond {beyond}")
    print(f"\nraw COPY {detail['copy_s']} s, COPY + INSERT {detail['insert_s']} s, our start-up {ours['start_up']} s")
    for name in ("first", "unchanged", "update", "undo", "delete"):
        if name in ours:
            print(f"{name:<10}{ours[name]['seconds']:>8.2f} s  {ours[name].get('stages', '')}")
            for stage, spent in ours[name].get("processors", {}).items():
                told = ", ".join(f"{who} {seconds:.2f}" for who, seconds in spent.items())
                print(f"{'':<12}{stage:<22}processor seconds: {told}")
    three = detail["three_columns"]
    print(f"three columns: {three['seconds']:.2f} s {three['stages']}")
    print(f"seed promise: 500,000 rows in {ours['first']['seconds'] * 500_000 / found['rows']:.1f} s (asked: 600 s)")
    for name, rate in detail.get("peer_rows_per_s", {}).items():
        print(f"{name}: {rate:,} rows/s; ours {found['rows'] / ours['first']['seconds']:,.0f}")
    for size, figures in scale.get("sizes", {}).items():
        if "failed" in figures:
            print(f"{int(size):>9,} rows: the import failed, {figures['failed']}")
            continue
        print(f"{int(size):>9,} rows: {figures['peak_mb']} MB, {figures['s_per_million']} s per million rows")


def say(what: str) -> None:
    """Progress for whoever waits."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
