"""Exports at full size, for ``make bench``: the figures of ``benchmarks/exports.py`` in lines of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One figure for each format, its ratio to the raw COPY, memory and size in the note."""
    return [
        {
            "what": form,
            "rows": found["rows"],
            "seconds": one["seconds"],
            "per_second": one["rows_per_s"],
            "note": f"{one['over_copy']}x raw COPY TO; first bytes after {one['first_ms']} ms; peak memory "
            f"{one['peak_mb']} MB; {one['mb']} MB written",
        }
        for form, one in found["formats"].items()
    ]


def main() -> None:
    """Run the benchmark in a process of its own and print its figures."""
    script = Path(__file__).with_name("exports.py")
    done = subprocess.run([sys.executable, str(script), "--json"], stdout=subprocess.PIPE, text=True, check=True)
    for figure in lines(json.loads(done.stdout)):
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
