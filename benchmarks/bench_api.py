"""The API at a million products, for ``make bench``: the figures of ``benchmarks/api.py`` in lines of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CROWDS = {"c1": "1 client", "c8": "8 clients", "u25": "25 users, 1 s of thinking"}
KINDS = {"list_p95_ms": "list pages and details", "search_p95_ms": "search, filters, facets"}


def lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One figure for each load: the 95th percentile in seconds, the requests, their rate and their median."""
    figures = []
    load = found["detail"]["load"]
    for key, what in KINDS.items():
        for crowd, who in CROWDS.items():
            one = load[f"{key.removesuffix('_p95_ms')}_{crowd}"]
            figures.append(
                {
                    "what": f"{what}, {who}: p95",
                    "rows": one["requests"],
                    "seconds": round(one["p95_ms"] / 1000, 4),
                    "per_second": round(one["per_second"]),
                    "note": f"median {one['p50_ms']} ms, {one['failed']} failed",
                }
            )
    figures[0]["note"] += f"; {found['products']:,} products; most pages a second: {found['over_pgbench']}x pgbench"
    if found.get("bulk_10k_s") is not None:
        seconds = found["bulk_10k_s"]
        figures.append(
            {"what": "bulk upsert", "rows": 10_000, "seconds": seconds, "per_second": round(10_000 / seconds)}
        )
    if found.get("failed") is not None:
        told = f"{found['failed']} requests failed beside an import into the same tenant"
        figures.append({"what": "25 users for a while", "seconds": found["detail"]["options"]["soak"], "note": told})
    return figures


def main() -> None:
    """Run the benchmark and print its figures."""
    script = Path(__file__).with_name("api.py")
    done = subprocess.run([sys.executable, str(script), "--json"], stdout=subprocess.PIPE, check=True)
    for figure in lines(json.loads(done.stdout)):
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
