"""Imports at full size, for ``make bench``: the figures of ``benchmarks/imports.py`` in lines of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What each operation is compared with, by the key of its ratio.
RATIOS = {
    "first": (
        ("first_over_copy", "raw COPY"),
        ("first_over_insert", "COPY + INSERT"),
        ("over_django", "the rows/s of Django"),
        ("over_dlt", "the rows/s of dlt"),
    ),
    "unchanged": (("unchanged_over_copy", "raw COPY"),),
    "update": (("update_over_first", "the first import"),),
    "undo": (("undo_over_update", "the update"),),
    "delete": (),
}


def lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One figure for each operation, its ratios in the note."""
    ours = found["detail"]["ours"]
    figures = []
    for name, ratios in RATIOS.items():
        if name in ours:
            seconds = ours[name]["seconds"]
            note = ", ".join(f"{found[key]}x {other}" for key, other in ratios if found.get(key) is not None)
            rate = round(found["rows"] / seconds)
            figures.append({"what": name, "rows": found["rows"], "seconds": seconds, "per_second": rate, "note": note})
    figures[0]["note"] += f"; peak memory {found['peak_mb']} MB"
    for peer, rate in found["detail"].get("peer_rows_per_s", {}).items():
        seconds = round(found["rows"] / rate, 2)
        figures.append({"what": f"{peer}: first", "rows": found["rows"], "seconds": seconds, "per_second": rate})
    for size, one in found["detail"].get("scale", {}).get("sizes", {}).items():
        rows, seconds = int(size), one["first"]["seconds"]
        note = f"peak memory {one['peak_mb']} MB"
        figures.append(
            {"what": "first", "rows": rows, "seconds": seconds, "per_second": round(rows / seconds), "note": note}
        )
    return figures


def main() -> None:
    """Run the benchmark and print its figures."""
    script = Path(__file__).with_name("imports.py")
    done = subprocess.run([sys.executable, str(script), "--scale", "--json"], stdout=subprocess.PIPE, check=True)
    for figure in lines(json.loads(done.stdout)):
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
