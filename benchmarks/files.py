"""Large product files, made up in a few seconds, the same bytes for the same arguments.

::

    python benchmarks/files.py three  /tmp/three.csv  --rows 861688
    python benchmarks/files.py twelve /tmp/twelve.csv --rows 861688 --price-factor 1.05

Every value is computed from ``(seed, column, row)`` alone. So a file of fewer rows is the beginning of
a longer one, files are written in batches without holding more than one of them, and no library's
random numbers can change what a benchmark measures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

#: The size that the importer was first asked for.
ROWS = 861_688
BATCH = 131_072
#: In the three-column file every hundredth record repeats an earlier SKU in another case.
DUPLICATE_EVERY = 100

Numbers = npt.NDArray[np.uint64]

NOUNS = (
    "Lamp", "Chair", "Kettle", "Blanket", "Mug", "Shelf", "Drill", "Notebook", "Jacket", "Bottle", "Basket", "Mirror",
    "Clock", "Cushion", "Ladder", "Planter", "Router", "Saddle", "Teapot", "Umbrella", "Wallet", "Whisk", "Speaker",
    "Tripod", "Helmet", "Hammer", "Pillow", "Scarf", "Bench", "Candle", "Cable", "Apron",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Bright", "Calm", "Compact", "Coastal", "Classic", "Deep", "Double", "Early", "Fine", "Folding", "Gentle",
    "Heavy", "Hidden", "Ivory", "Kind", "Large", "Light", "Little", "Long", "Modern", "Narrow", "Nimble", "Northern",
    "Plain", "Quiet", "Rapid", "Round", "Rustic", "Silver", "Slim", "Soft", "Solid", "Spare", "Steady", "Tall", "Thin",
    "Urban", "Warm", "Wide",
)  # fmt: skip
MAKERS = tuple(
    first + second
    for first in ("Al", "Bro", "Cel", "Dra", "El", "Fa", "Gro", "Hal", "Is", "Jun", "Kel", "Lor", "Mar", "Nol", "Ost")
    for second in ("dane", "fenn", "gard", "holt", "mere", "nex", "quist", "rath", "sund", "wick")
)
SHELVES = tuple(
    f"{area} > {part}"
    for area, parts in {
        "Home": ("Lighting", "Storage", "Textiles", "Decoration"),
        "Kitchen": ("Cookware", "Tableware", "Utensils", "Appliances"),
        "Garden": ("Tools", "Pots", "Furniture"),
        "Workshop": ("Power tools", "Hand tools", "Fixings"),
        "Office": ("Paper", "Cables", "Furniture", "Audio"),
        "Clothing": ("Outerwear", "Accessories", "Workwear"),
        "Travel": ("Luggage", "Bottles", "Rainwear"),
    }.items()
    for part in parts
)
OPENINGS = (
    "Made for every day", "Built to be repaired", "Drawn by hand and made by machine", "A present that gets used",
    "Light enough to carry", "Thought through to the last screw", "For small rooms", "For people who like it plain",
    "The one we use ourselves", "Back by popular demand", "New this season", "A quiet classic",
)  # fmt: skip
MIDDLES = (
    "with parts you can order one by one", "in a finish that ages well", "from recycled material", "without any glue",
    "with a five-year guarantee", "packed without plastic", "that folds flat", "that cleans with a damp cloth",
    "in six colours", "tested for ten thousand uses", "with rounded edges", "that stands firmly on any floor",
)  # fmt: skip
ENDINGS = (
    "Ships in two days.", "Spare parts are kept for ten years.", "Instructions are in the box.", "Not for outdoors.",
    "Please keep dry.", "Colours may differ a little from the picture.", "Suits gift wrapping.", "Sold singly.",
)  # fmt: skip
TAGS = (
    "new", "sale", "gift", "bestseller", "recycled", "handmade", "spare part", "bundle", "outlet", "online only",
    "seasonal", "exclusive", "bulky", "fragile", "kids", "vegan",
)  # fmt: skip
COLOURS = ("black", "white", "grey", "red", "green", "blue", "sand", "rust", "navy", "mint", "lilac", "brown")
LETTERS = tuple(a + b for a in "ABCDEFGHKLMNPRSTUVWXZ" for b in "ABCDEFGHKLMNPRSTUVWXZ")


@dataclass(frozen=True)
class Written:
    """What a file holds."""

    path: Path
    rows: int
    #: Products the file describes: distinct SKUs, case aside.
    products: int
    bytes: int


def _mix(rows: Numbers, seed: int, column: int) -> Numbers:
    """64 well-mixed bits for each row (the finaliser of SplitMix64)."""
    start = (seed * 0x9E3779B97F4A7C15 + column * 0xD1B54A32D192ED03) % 2**64
    bits = rows * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Numbers = bits ^ (bits >> np.uint64(31))
    return mixed


def _pick(options: Sequence[str], bits: Numbers) -> pl.Series:
    return pl.Series(options, dtype=pl.String).gather(pl.Series(bits % np.uint64(len(options))))


def _join(*parts: pl.Series | str) -> pl.Series:
    """The parts of each row glued together."""
    expressions = [pl.lit(part) for part in parts]
    return pl.select(pl.concat_str(expressions).alias("joined")).to_series()


def _fixed(numbers: Numbers, width: int) -> pl.Series:
    return pl.Series(numbers).cast(pl.String).str.zfill(width)


def _decimal(hundredths: Numbers) -> pl.Series:
    """12345 -> ``123.45``, without the detour over floats."""
    hundred = np.uint64(100)
    return _join(pl.Series(hundredths // hundred).cast(pl.String), ".", _fixed(hundredths % hundred, 2))


def _sku(rows: Numbers, seed: int) -> pl.Series:
    return _join(_pick(LETTERS, _mix(rows, seed, 1)), "-", _fixed(rows + np.uint64(1), 7))


def _name(rows: Numbers, seed: int) -> pl.Series:
    adjective, noun, maker = (_mix(rows, seed, column) for column in (2, 3, 4))
    return _join(
        _pick(MAKERS, maker),
        " ",
        _pick(ADJECTIVES, adjective),
        " ",
        _pick(NOUNS, noun),
        " ",
        pl.Series(rows % np.uint64(997)).cast(pl.String),
    )


def _description(rows: Numbers, seed: int) -> pl.Series:
    return _join(
        _pick(OPENINGS, _mix(rows, seed, 5)),
        ", ",
        _pick(MIDDLES, _mix(rows, seed, 6)),
        ". ",
        _pick(ENDINGS, _mix(rows, seed, 7)),
    )


def gtin13(numbers: Numbers) -> pl.Series:
    """GTIN-13s with prefix 29 (a shop's own use) of article numbers up to ten digits."""
    body = numbers % np.uint64(10**10) + np.uint64(29 * 10**10)
    total = np.zeros_like(body)
    for place in range(12):
        weight = np.uint64(1 if place % 2 else 3)
        total += body // np.uint64(10**place) % np.uint64(10) * weight
    return pl.Series(body * np.uint64(10) + (np.uint64(10) - total % np.uint64(10)) % np.uint64(10)).cast(pl.String)


def _write(path: str | Path, rows: int, batch: Callable[[Numbers], pl.DataFrame], products: int) -> Written:
    if rows < 0:
        raise ValueError(f"a file of {rows} rows cannot be written")
    path = Path(path)
    with path.open("wb") as out:
        # The header also where there are no rows.
        batch(np.arange(0, dtype=np.uint64)).write_csv(out)
        for start in range(0, rows, BATCH):
            batch(np.arange(start, min(start + BATCH, rows), dtype=np.uint64)).write_csv(out, include_header=False)
    return Written(path, rows, products, path.stat().st_size)


def write_three_columns(path: str | Path, rows: int = ROWS, *, seed: int = 4) -> Written:
    """``name,sku,description``; each hundredth record repeats an earlier SKU in small letters with other text."""

    def batch(numbers: Numbers) -> pl.DataFrame:
        every = np.uint64(DUPLICATE_EVERY)
        one = np.uint64(1)
        double = numbers % every == every - one
        # Any earlier record that is not a duplicate itself: what is counted stays exact.
        earlier = _mix(numbers, seed, 8) % np.maximum(numbers, one)
        earlier = np.where(earlier % every == every - one, earlier - one, earlier)
        sku = _sku(np.where(double, earlier, numbers), seed)
        frame = pl.DataFrame(
            {"name": _name(numbers, seed), "sku": sku, "description": _description(numbers, seed), "double": double}
        )
        lower = pl.when("double").then(pl.col("sku").str.to_lowercase()).otherwise("sku").alias("sku")
        return frame.with_columns(lower).drop("double")

    return _write(path, rows, batch, rows - rows // DUPLICATE_EVERY)


def write_twelve_columns(path: str | Path, rows: int = ROWS, *, seed: int = 12, price_factor: float = 1.0) -> Written:
    """Twelve columns of a usual shop export, about 255 bytes a row, every SKU once.

    With a ``price_factor`` other than 1 every price differs from the file without it, and nothing else does.
    """

    def batch(numbers: Numbers) -> pl.DataFrame:
        cents = _mix(numbers, seed, 9) % np.uint64(49_900) + np.uint64(100)
        if price_factor != 1.0:
            dearer = np.rint(cents.astype(np.float64) * price_factor).astype(np.uint64)
            cents = np.where(dearer == cents, cents + np.uint64(1), dearer)
        first, second, third = (_pick(TAGS, _mix(numbers, seed, column)) for column in (10, 11, 12))
        maker = _pick(MAKERS, _mix(numbers, seed, 4))
        sku = _sku(numbers, seed)
        return pl.DataFrame(
            {
                "sku": sku,
                "name": _name(numbers, seed),
                "description": _description(numbers, seed),
                "price": _join("€", _decimal(cents)),
                "brand": maker,
                "category": _pick(SHELVES, _mix(numbers, seed, 13)),
                "tags": _join(first, ",", second, ",", third),
                "weight": _decimal(_mix(numbers, seed, 14) % np.uint64(2_500) + np.uint64(5)),
                "in_stock": _pick(("yes", "yes", "yes", "no"), _mix(numbers, seed, 15)),
                "image_url": _join("https://img.example.com/products/", sku.str.to_lowercase(), "-front.jpg"),
                "ean": gtin13(numbers + np.uint64(1)),
                "colour": _pick(COLOURS, _mix(numbers, seed, 16)),
            }
        )

    return _write(path, rows, batch, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a large product file, the same for the same arguments.")
    parser.add_argument("shape", choices=["three", "twelve"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--price-factor", type=float, default=1.0, help="of shape twelve: every price changed")
    given = parser.parse_args(arguments)
    if given.shape == "three" and given.price_factor != 1.0:
        parser.error("the three-column file has no prices")
    if given.shape == "three":
        written = write_three_columns(given.path, given.rows, **({} if given.seed is None else {"seed": given.seed}))
    else:
        seed = 12 if given.seed is None else given.seed
        written = write_twelve_columns(given.path, given.rows, seed=seed, price_factor=given.price_factor)
    print(f"{written.path}: {written.rows:,} records, {written.products:,} products, {written.bytes:,} bytes")


if __name__ == "__main__":
    main()
