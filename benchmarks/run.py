"""``make bench``: run every ``benchmarks/bench_*.py`` and write what they measured to ``RESULTS.md``.

A benchmark is a script that prints one JSON object a line: ``what`` (text), ``seconds``, and where they
make sense ``rows``, ``per_second`` and ``note``. Everything else it prints is shown and not kept. Each runs
in a process of its own, so that none measures the memory of another.

``python benchmarks/run.py files stage`` runs only those; the sections of the others stay as they are.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
COLUMNS = ("what", "rows", "seconds", "per_second", "note")
HEAD = """# Results

Written by `make bench`; each section is one script `bench_<name>.py`. Figures of different machines do not compare.
"""


def read_sections(text: str) -> dict[str, str]:
    """The sections of a results file, by name."""
    parts = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def write_results(sections: dict[str, str]) -> str:
    """The results file: its head and the sections in alphabetical order."""
    return "\n".join([HEAD, *(f"## {name}\n\n{sections[name]}\n" for name in sorted(sections))])


def read_figures(output: str) -> list[dict[str, Any]]:
    """The JSON objects among the lines a benchmark printed."""
    figures = []
    for line in output.splitlines():
        if line.startswith("{"):
            figure = json.loads(line)
            if "what" not in figure or "seconds" not in figure:
                raise ValueError(f"a figure needs `what` and `seconds`: {line}")
            figures.append(figure)
    return figures


def section(figures: Sequence[dict[str, Any]], machine: str) -> str:
    """One section: where and when, and a table of figures."""

    def cell(value: object) -> str:
        return f"{value:,}" if isinstance(value, int | float) else str(value)

    lines = [[column.replace("_", " ") for column in COLUMNS], ["---", "---:", "---:", "---:", "---"]]
    lines += [[cell(figure.get(column, "")) for column in COLUMNS] for figure in figures]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{machine}\n\n{table}"


def machine() -> str:
    """The machine, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"{today}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def main(names: Sequence[str]) -> int:
    """Run the named benchmarks, or all; the exit code says whether all of them measured something."""
    scripts = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    if unknown := sorted(set(names) - set(scripts)):
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(scripts)}", file=sys.stderr)
        return 2
    sections = read_sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    failed = []
    for name in names or scripts:
        print(f"== {name}", flush=True)
        run = subprocess.run(
            [sys.executable, str(scripts[name])], stdout=subprocess.PIPE, text=True, env=environment, check=False
        )
        print(run.stdout, end="", flush=True)
        figures = read_figures(run.stdout)
        if run.returncode or not figures:
            failed.append(name)
            continue
        sections[name] = section(figures, machine())
        RESULTS.write_text(write_results(sections), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
