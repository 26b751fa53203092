"""How well does the mapping engine understand columns? Published catalogues and layouts of our own, without a model.

::

    uv run python benchmarks/mapping.py [--errors] [--held-out] [--files] [--bands] [--json]

Three sets: the labelled catalogues in ``../shared`` (with ``--files``; every file is read as an import reads it),
and two halves of layouts of shop systems, marketplaces and suppliers in many languages, written for this benchmark
(``tests/data/mapping``). ``tuning`` may be looked at while the engine is changed. ``held_out`` may not: it is scored
only on request, without its errors, because it is what tells whether the engine knows the field or the files. The
rules of counting are those of the catalogues' own scorer. ``--bands`` gives precision by confidence, from which
``SURE`` was chosen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polars as pl

from pim_platform.catalog.staged import RAW_PREFIX
from pim_platform.errors import PimError
from pim_platform.intake.mapping.dictionary import dictionary
from pim_platform.intake.mapping.models import ColumnMapping
from pim_platform.intake.mapping.propose import propose_mapping
from pim_platform.intake.profile import profile_columns

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = ROOT / "tests" / "data" / "mapping"
CATALOGUES = ROOT.parent / "shared" / "data" / "catalogues"
PLAIN = {"attribute", "ignore"}


@dataclass(frozen=True)
class Label:
    """A column, what it means, and what else is right."""

    source: str
    targets: frozenset[str]
    types: frozenset[str]


@dataclass
class Score:
    """Counts over columns that hold a value, as the catalogues' scorer makes them."""

    hits: int = 0
    types: int = 0
    total: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    auto: int = 0
    auto_right: int = 0
    bands: dict[float, list[int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, name: str, label: Label, guess: ColumnMapping | None) -> None:
        """Count one column."""
        target, kind = (guess.target, guess.type) if guess else (None, None)
        core = target is not None and target not in PLAIN
        ok = target in label.targets or (target in PLAIN and bool(label.targets & PLAIN))
        self.total, self.hits, self.types = self.total + 1, self.hits + ok, self.types + (kind in label.types)
        if core and guess is not None:
            good = target in label.targets
            self.right, self.wrong = self.right + good, self.wrong + (not good)
            self.auto, self.auto_right = self.auto + guess.auto, self.auto_right + (guess.auto and good)
            band = self.bands.setdefault(guess.confidence // 0.05 * 0.05, [0, 0])
            band[0], band[1] = band[0] + 1, band[1] + good
        if not label.targets & PLAIN and not (core and target in label.targets):
            self.missed += 1
        if not ok or kind not in label.types:
            sure = " (auto)" if guess and guess.auto and not ok else ""
            self.errors.append(
                f"{name}: {label.source!r} -> {target}/{kind}{sure}, expected {'|'.join(sorted(label.targets))}/"
                f"{'|'.join(sorted(label.types))}"
            )

    def merge(self, other: Score) -> None:
        """Add the counts of another score."""
        for name in ("hits", "types", "total", "right", "wrong", "missed", "auto", "auto_right"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for band, (count, good) in other.bands.items():
            mine = self.bands.setdefault(band, [0, 0])
            mine[0], mine[1] = mine[0] + count, mine[1] + good
        self.errors += other.errors

    def figures(self) -> dict[str, float]:
        """The figures people compare, each from 0 to 1."""
        precision = self.right / max(1, self.right + self.wrong)
        recall = self.right / max(1, self.right + self.missed)
        return {
            "core_f1": 2 * precision * recall / max(1e-9, precision + recall),
            "precision": precision,
            "recall": recall,
            "accuracy": self.hits / max(1, self.total),
            "types": self.types / max(1, self.total),
            "auto_precision": self.auto_right / max(1, self.auto),
            "auto_share": self.auto / max(1, self.right + self.wrong),
        }


def layouts(path: Path) -> Iterator[tuple[str, list[Label], list[list[str | None]]]]:
    """Name, labels and cells by column of each section of a file of layouts."""
    name = ""
    labels: list[Label] = []
    cells: list[list[str | None]] = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("## "):
            if labels:
                yield name, labels, cells
            name, labels, cells = line[3:].split(" (")[0], [], []
        elif line.strip() and not line.startswith("# "):
            header, targets, types, values = line.split(" | ", 3)
            labels.append(Label(header, frozenset(targets.split(",")), frozenset(types.split(","))))
            cells.append([_cell(value.strip()) for value in values.split(";;")])
    if labels:
        yield name, labels, cells


def _cell(value: str) -> str | None:
    """A cell as readers give it: lists are JSON arrays of texts."""
    if value.startswith("[") and value.endswith("]"):
        try:
            entries = json.loads(value)
        except ValueError:
            return value
        return json.dumps([e if isinstance(e, str) else json.dumps(e) for e in entries], ensure_ascii=False)
    return value or None


def score_layouts(path: Path) -> dict[str, Score]:
    """The score of each layout of a file."""
    scores = {}
    for name, labels, cells in layouts(path):
        headers = [label.source for label in labels]
        height = max(map(len, cells))
        padded = [column + [None] * (height - len(column)) for column in cells]
        frame = pl.DataFrame(
            {f"{RAW_PREFIX}{i}": pl.Series(column, dtype=pl.String) for i, column in enumerate(padded)}
        )
        score = scores[name] = Score()
        columns = propose_mapping(headers, profile_columns(frame, headers))
        for label, guess in zip(labels, columns, strict=True):
            score.add(name, label, guess)
    return scores


def score_catalogues(folder: Path) -> dict[str, Score]:
    """The score of each labelled catalogue that can be read."""
    from pim_platform.intake.proposal import propose

    scores = {}
    for file in json.loads((folder / "MANIFEST.json").read_text("utf-8"))["files"]:
        labels = [c for c in file["ground_truth"].get("columns", []) if c.get("filled")]
        if not labels:
            continue
        score = scores[file["id"]] = Score()
        try:
            columns = propose(folder / file["local_path"]).columns
        except PimError as error:
            columns = []
            score.errors.append(f"{file['id']}: {error}")
        known: dict[str, ColumnMapping] = {}
        for column in columns:
            known.setdefault(column.source.strip().casefold(), column)
        for c in labels:
            label = Label(
                c["source"],
                frozenset([c["target"], *c.get("accept", [])]),
                frozenset([c["type"], *c.get("accept_type", [])]),
            )
            source = c.get("source")
            index = c.get("column")
            guess = known.get(source.strip().casefold()) if source is not None else None
            if source is None and index is not None and index < len(columns):
                guess = columns[index]
            score.add(file["id"], label, guess)
    return scores


def timing() -> dict[str, float]:
    """Milliseconds to load the dictionaries and to map 60 columns of a large file, profiles given."""
    dictionary.cache_clear()
    start = time.perf_counter()
    dictionary()
    loaded = time.perf_counter()
    picked = [
        (label, column)
        for _, labels, cells in layouts(LAYOUTS / "tuning.txt")
        for label, column in zip(labels, cells, strict=True)
    ]
    picked = picked[:: max(1, len(picked) // 60)][:60]
    headers = [label.source for label, _ in picked]
    frame = pl.DataFrame({f"{RAW_PREFIX}{i}": (column * 4)[:4] for i, (_, column) in enumerate(picked)}, strict=False)
    profiles = profile_columns(frame, headers)
    before = time.perf_counter()
    propose_mapping(headers, profiles)
    return {"load_ms": (loaded - start) * 1000, "sixty_columns_ms": (time.perf_counter() - before) * 1000}


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", action="store_true", help="show wrong columns (never those held out)")
    parser.add_argument("--held-out", action="store_true", help="score the half that nobody tunes to")
    parser.add_argument("--files", action="store_true", help="score the catalogues in ../shared as well")
    parser.add_argument("--bands", action="store_true", help="show precision by confidence")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    sets = {"tuning": score_layouts(LAYOUTS / "tuning.txt")}
    if options.held_out:
        sets["held_out"] = score_layouts(LAYOUTS / "held_out.txt")
    if options.files and (CATALOGUES / "MANIFEST.json").is_file():
        sets["catalogues"] = score_catalogues(CATALOGUES)
    totals = {}
    for name, scores in sets.items():
        totals[name] = Score()
        for score in scores.values():
            totals[name].merge(score)
    if options.json:
        print(json.dumps({name: total.figures() for name, total in totals.items()} | {"timing": timing()}))
        return
    for name, scores in sets.items():
        shown = options.errors and name != "held_out"
        report(name, scores, totals[name], errors=shown, bands=options.bands)
    print(", ".join(f"{what} {value:.1f}" for what, value in timing().items()))


def report(name: str, scores: dict[str, Score], total: Score, *, errors: bool, bands: bool) -> None:
    """A table of one set."""
    keys = ("core_f1", "accuracy", "types", "auto_precision", "auto_share")
    print(f"{name:44} {'columns':>8} " + " ".join(f"{key:>14}" for key in keys))
    for file, score in scores.items():
        print(f"  {file:42} {score.total:8} " + _row(score, keys))
    print(f"  {'all of ' + str(len(scores)):42} {total.total:8} " + _row(total, keys))
    if bands:
        for band, (count, good) in sorted(total.bands.items()):
            print(f"    confidence from {band:.2f}: {count:5} proposals, {good / count:.3f} right")
    for error in total.errors if errors else ():
        print("   ", error)


def _row(score: Score, keys: tuple[str, ...]) -> str:
    figures: dict[str, Any] = score.figures()
    return " ".join(f"{figures[key]:14.3f}" for key in keys)


if __name__ == "__main__":
    main()
