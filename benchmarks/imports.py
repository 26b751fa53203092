"""How fast are imports? Ours and others' in turn, on the same server, in one run.

::

    uv run python benchmarks/imports.py [--rows 861688] [--peers] [--memory] [--json]

Ratios are what counts: machines differ and are noisy, a run's own baselines are the measure. ``--peers``
adds Django and dlt where they are installed (`uv pip install django "dlt[postgres]"`), ``--memory`` the growth
from 1 to 4 million rows.
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
from benchmarks.importing.baselines import copy_and_insert, django_upsert, dlt_merge, raw_copy
from pim_platform.local.engines import engines
from pim_platform.local.parts import environment
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints, database_of, password_of, user_of

#: Peers take minutes for a full file; their rate is measured on this many rows of it.
PEER_ROWS = 100_000
KEYS = (
    "rows", "first_over_copy", "first_over_insert", "unchanged_over_copy", "update_over_first", "over_django",
    "over_dlt", "peak_mb", "undo_over_update", "delete_500k_s",
)  # fmt: skip


def main() -> None:
    """Measure, print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--peers", action="store_true", help="measure Django and dlt too")
    parser.add_argument("--memory", action="store_true", help="measure peak memory at 1 and 4 million rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pim-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded server's own user must reach its data
        settings = Settings(home=folder / "home", port=27_000 + uuid.uuid4().int % 500 * 10)
        with engines(settings):
            found = measure(settings, folder, options.rows, peers=options.peers, memory=options.memory)
    if options.json:
        print(json.dumps({key: found.get(key) for key in KEYS} | {"detail": found["detail"]}))
    else:
        report(found)


def measure(settings: Settings, folder: Path, rows: int, *, peers: bool, memory: bool) -> dict[str, Any]:
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
        found |= measure_peers(settings, folder, rows / first, detail)
    if memory:
        detail["memory"] = measure_memory(settings, folder)
    return found


def run_ours(settings: Settings, first: Path, changed: Path) -> dict[str, Any]:
    """Our figures, from a process of its own."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.importing.ours", str(first), str(changed)],
        env={**os.environ, **environment(settings)},
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_peers(settings: Settings, folder: Path, our_rate: float, detail: dict[str, Any]) -> dict[str, Any]:
    """Our rows/s over those of Django and dlt; None where a peer is not installed."""
    file = folder / "peer.csv"
    write_twelve_columns(file, PEER_ROWS)
    url = Endpoints.of(settings).admin_url
    found: dict[str, Any] = {"over_django": None, "over_dlt": None}
    if importlib.util.find_spec("django"):
        say(f"Django, {PEER_ROWS:,} rows")
        port = Endpoints.of(settings).ports.postgres
        login = {"NAME": database_of(url), "USER": user_of(url), "PASSWORD": password_of(url)}
        seconds = django_upsert({**login, "HOST": "127.0.0.1", "PORT": port}, file)
        detail["django_rows_per_s"] = round(PEER_ROWS / seconds)
        found["over_django"] = round(our_rate / (PEER_ROWS / seconds), 2)
    if importlib.util.find_spec("dlt"):
        say(f"dlt, {PEER_ROWS:,} rows")
        seconds = dlt_merge(url, file, folder)
        detail["dlt_rows_per_s"] = round(PEER_ROWS / seconds)
        found["over_dlt"] = round(our_rate / (PEER_ROWS / seconds), 2)
    return found


def measure_memory(settings: Settings, folder: Path) -> dict[str, Any]:
    """Peak memory and seconds per million rows of our process at 0.1, 1 and 4 million rows."""
    found: dict[str, Any] = {}
    for rows in (100_000, 1_000_000, 4_000_000):
        say(f"memory at {rows:,} rows")
        file = folder / "memory.csv"
        write_twelve_columns(file, rows)
        ours = run_ours(settings, file, file)
        found[str(rows)] = {
            "peak_mb": ours["peak_mb"],
            "s_per_million": round(ours["first"]["seconds"] * 1e6 / rows, 2),
        }
        file.unlink()
    return found


def report(found: dict[str, Any]) -> None:
    """The table that people read."""
    detail = found["detail"]
    ours = detail["ours"]
    lines = [
        ("first import over raw COPY", found["first_over_copy"], "<= 8x", "5x"),
        ("first import over COPY + INSERT", found["first_over_insert"], "<= 1.6x", "1.3x"),
        ("unchanged re-import over raw COPY", found["unchanged_over_copy"], "<= 3x", "2x"),
        ("every price changed over first", found["update_over_first"], "<= 2.5x", "1.5x"),
        ("rows/s over Django", found.get("over_django"), ">= 6x", "12x"),
        ("rows/s over dlt merge", found.get("over_dlt"), ">= 2.5x", "5x"),
        ("peak memory, MB", found["peak_mb"], "<= 800", "400"),
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
    three = detail["three_columns"]
    print(f"three columns: {three['seconds']:.2f} s {three['stages']}")
    print(f"seed promise: 500,000 rows in {ours['first']['seconds'] * 500_000 / found['rows']:.1f} s (asked: 600 s)")
    for key in ("django_rows_per_s", "dlt_rows_per_s", "memory"):
        if key in detail:
            print(f"{key}: {detail[key]}")


def say(what: str) -> None:
    """Progress for whoever waits."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
