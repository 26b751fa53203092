"""The sample catalogue: an outdoor-gear shop that does not exist, the same bytes every time.

``python samples/make_outdoor.py`` rewrites ``outdoor-gear.csv``, ``outdoor-gear-update.csv`` and the
``README.md`` that counts what is in them. :func:`catalogue` and :func:`update` say the same as values,
so that a test or the demo can compare what an import reports with what the files hold.

Brands and models are invented, images point to ``example.com``, and GTINs start with 29, which GS1
leaves to each shop's own use: they have right check digits and belong to nobody.
"""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
SEED = 20_240_229
RECORDS = 2_000
CURRENCY = "EUR"

HEADER = (
    "SKU",
    "Product name",
    "Description",
    "Brand",
    "Category",
    "Price",
    "Compare-at price",
    "EAN",
    "MPN",
    "Colour",
    "Size",
    "Material",
    "Weight (kg)",
    "Tags",
    "Image URL",
    "More images",
    "In stock",
    "Stock quantity",
    "Parent SKU",
)
UPDATE_HEADER = ("SKU", "Price", "In stock", "Stock quantity")


@dataclass(frozen=True)
class Bad:
    """One record that must be rejected; ``row`` counts as the platform does: the header is 1."""

    row: int
    sku: str
    reason: str
    column: str
    value: str


@dataclass(frozen=True)
class Sample:
    """One file and what an import of it should find."""

    header: tuple[str, ...]
    records: tuple[tuple[str, ...], ...]
    bad: tuple[Bad, ...] = ()
    #: Records that a later one of the same SKU, written in another case, replaces.
    superseded: int = 0
    #: What the ledger should say beside rejected and superseded.
    outcome: dict[str, int] = field(default_factory=dict)

    @property
    def ledger(self) -> dict[str, int]:
        """The ledger of an import that does everything right."""
        counts = {"created": 0, "updated": 0, "unchanged": 0, **self.outcome}
        return {
            "read": len(self.records),
            **counts,
            "rejected": len(self.bad),
            "superseded": self.superseded,
            "merged": 0,
        }

    @property
    def bad_by_reason(self) -> dict[str, int]:
        """How many records are bad on purpose, by reason, in the order of the file's plan."""
        counts = Counter(bad.reason for bad in self.bad)
        return {reason: counts[reason] for reason in REASONS if counts[reason]}

    def to_csv(self) -> bytes:
        """The file: UTF-8, comma, quotes only where needed, lines ending in LF."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.records)
        return out.getvalue().encode()


#: Every fault on purpose, with how to make it: the column and the values to put there.
REASONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no SKU": ("SKU", ("", "", "")),
    "no name": ("Product name", ("", "", "")),
    "price is no number": ("Price", ("on request", "see catalogue", "ask in store")),
    "broken URL": ("Image URL", ("htp:/img.example.com/outdoor/tent 1.jpg", "photo to follow")),
    "too many fields": ("", ("left over after the last column", "2 for 1, until Sunday")),
    "weight is no number": ("Weight (kg)", ("about two", "light")),
    "no name for a new SKU": ("", ()),
}


@dataclass(frozen=True)
class Kind:
    """One kind of product: where it stands, what it is called and made of, and what sets it apart."""

    code: str
    category: str
    noun: str
    sizes: tuple[str, ...]
    materials: tuple[str, ...]
    price: tuple[int, int]
    weight: tuple[float, float]
    tags: tuple[str, ...]
    features: tuple[str, ...]


BRANDS = {
    "Tarnfell": "TF",
    "Brackmoor": "BM",
    "Norrhag": "NH",
    "Cairnwick": "CW",
    "Sollund": "SL",
    "Gratberg": "GB",
    "Luvseite": "LV",
    "Sørvann": "SV",
}
MODELS = (
    "Alder", "Basalt", "Birch", "Bothy", "Cirrus", "Corrie", "Drift", "Ember", "Fell", "Fjord", "Gale", "Granite",
    "Harrier", "Hollow", "Isle", "Juniper", "Kestrel", "Larch", "Linnet", "Moraine", "Osprey Point", "Peat", "Plover",
    "Quarry", "Rowan", "Scree", "Skerry", "Summit Line", "Tarn", "Thistle", "Tundra", "Vale", "Wren", "Yarrow",
)  # fmt: skip
COLOURS = {
    "Moss Green": "GRN",
    "Slate Grey": "GRY",
    "Rust": "RST",
    "Ink Blue": "BLU",
    "Coal Black": "BLK",
    "Mustard": "MUS",
    "Berry": "BER",
    "Sand": "SND",
}
LETTERS = ("XS", "S", "M", "L", "XL", "XXL")
SHOES = tuple(str(size) for size in range(37, 47))

KINDS = (
    Kind("TNT", "Camping > Tents", "Tent", ("1 person", "2 person", "3 person", "4 person"),
         ("Ripstop nylon", "Polyester 75D"), (179, 649), (1.1, 4.2), ("tent", "3-season", "camping"),
         ("Colour-coded poles go up in five minutes, even in rain.", "Two doors and two porches keep boots dry.",
          "The flysheet holds back a 3,000 mm water column.")),
    Kind("BAG", "Camping > Sleeping Bags", "Sleeping Bag", ("Regular", "Long", "Wide"),
         ("Recycled polyester", "Down 650 cuin", "Down 800 cuin"), (89, 429), (0.7, 1.9), ("sleeping bag", "camping"),
         ("Comfortable down to -4 °C.", "A two-way zip lets your feet breathe.",
          "Packs to the size of a loaf of bread.")),
    Kind("MAT", "Camping > Sleeping Mats", "Sleeping Mat", ("Regular", "Long"),
         ("TPU-coated polyester", "Closed-cell foam"), (29, 199), (0.35, 1.2), ("mat", "camping", "insulated"),
         ("R-value 4.1 for frosty ground.", "Inflates in under two minutes with its own sack.",
          "A repair patch is in the pouch.")),
    Kind("CHR", "Camping > Furniture", "Camp Chair", ("Standard", "High back"), ("Aluminium", "Steel"), (39, 149),
         (0.9, 3.8), ("chair", "camping"),
         ("Carries 120 kg and folds to a forearm's length.", "Wide feet do not sink into sand.",
          "A side pocket holds a bottle or a book.")),
    Kind("LMP", "Camping > Lighting", "Head Torch", (), ("ABS", "Aluminium"), (24, 119), (0.06, 0.18),
         ("light", "headlamp", "USB-C"),
         ("400 lumens on full, 40 hours on low.", "Red light keeps your eyes used to the dark.",
          'Charges over USB-C; the "lock" mode keeps it off in the pack.')),
    Kind("STV", "Cooking > Stoves", "Stove", (), ("Stainless steel", "Titanium"), (34, 189), (0.08, 0.6),
         ("stove", "cooking", "gas"),
         ("Boils half a litre in three minutes.", "The burner head shrugs off wind.",
          "Legs lock open and fold flat.")),
    Kind("POT", "Cooking > Cookware", "Cook Set", ("1 litre", "2 litres", "3 litres"),
         ("Hard-anodised aluminium", "Titanium"), (29, 139), (0.2, 0.9), ("cookware", "cooking"),
         ("Lids strain pasta without losing any.", "Handles stay cool and lock for packing.",
          "Marked inside in decilitres.")),
    Kind("BTL", "Cooking > Bottles", "Bottle", ("0.5 l", "0.75 l", "1 l"), ("Stainless steel", "Tritan"), (14, 45),
         (0.12, 0.48), ("bottle", "hydration"),
         ("Keeps tea hot for twelve hours.", "The wide neck takes ice cubes.",
          "The lid hangs on, so it cannot roll away.")),
    Kind("DAY", "Packs > Day Packs", "Day Pack", ("18 l", "24 l", "30 l"), ("Recycled nylon 210D", "Cordura 500D"),
         (59, 169), (0.5, 1.3), ("backpack", "day hike"),
         ("A mesh back keeps air moving.", "Fits a three-litre bladder.", "A rain cover hides in the base.")),
    Kind("TRK", "Packs > Trekking Packs", "Trekking Pack", ("45 l", "55 l", "65 l", "75 l"),
         ("Recycled nylon 420D", "Cordura 500D"), (139, 349), (1.3, 2.6), ("backpack", "trekking"),
         ("The back length adjusts while you wear it.", "Hip belt pockets take a phone and a bar.",
          "Opens from top, front and base.")),
    Kind("DRY", "Packs > Dry Bags", "Dry Bag", ("5 l", "10 l", "20 l", "35 l"), ("TPU-coated nylon", "PVC tarpaulin"),
         (12, 69), (0.06, 0.7), ("dry bag", "waterproof"),
         ("Roll it three times and it floats.", "Welded seams, no needle holes.",
          "A window shows what is inside.")),
    Kind("BOT", "Footwear > Hiking Boots", "Hiking Boot", SHOES, ("Nubuck leather", "Suede and mesh"), (129, 279),
         (0.9, 1.5), ("boots", "hiking", "waterproof"),
         ("A waterproof lining breathes on the climb.", "The sole grips wet rock and can be renewed.",
          "Hooks let you lace foot and shaft apart.")),
    Kind("RUN", "Footwear > Trail Running Shoes", "Trail Shoe", SHOES, ("Engineered mesh",), (99, 179), (0.44, 0.72),
         ("shoes", "running", "trail"),
         ("Five-millimetre lugs for mud and moss.", "Drops six millimetres from heel to toe.",
          "The gusseted tongue keeps grit out.")),
    Kind("SDL", "Footwear > Sandals", "Sandal", SHOES, ("Recycled webbing", "Leather"), (49, 119), (0.4, 0.7),
         ("sandals", "summer"),
         ("Three straps adjust heel, instep and toes.", "The footbed dries in an hour.",
          "Soft enough for camp, firm enough for the path.")),
    Kind("RNJ", "Clothing > Rain Jackets", "Rain Jacket", LETTERS, ("3-layer polyester", "2.5-layer nylon"),
         (119, 449), (0.25, 0.62), ("jacket", "rain", "waterproof"),
         ("Taped seams and a stiffened hood brim.", "Pit zips let steam out.", "Packs into its own chest pocket.")),
    Kind("INS", "Clothing > Insulated Jackets", "Insulated Jacket", LETTERS, ("Recycled polyester", "Down 700 cuin"),
         (99, 389), (0.3, 0.7), ("jacket", "insulated", "winter"),
         ("Warm when damp, small when packed.", "Elastic cuffs fit over gloves.",
          "The two-way zip clears a harness.")),
    Kind("FLC", "Clothing > Fleece", "Fleece", LETTERS, ("Recycled fleece", "Merino blend"), (59, 159), (0.25, 0.5),
         ("fleece", "midlayer"),
         ("Gridded inside, smooth outside.", "Thumb loops keep sleeves in place.", "A chest pocket fits a map.")),
    Kind("TRS", "Clothing > Trousers", "Trekking Trousers", LETTERS, ("Stretch nylon", "Polycotton"), (69, 189),
         (0.28, 0.55), ("trousers", "hiking"),
         ("Knees are shaped to step high.", "Zips on both thighs for air.", "Dries overnight in a tent.")),
    Kind("BSL", "Clothing > Base Layers", "Base Layer", LETTERS, ("Merino 150", "Merino 200", "Polypropylene"),
         (39, 109), (0.14, 0.26), ("base layer", "merino"),
         ("Does not smell after three days.", "Flat seams under pack straps.", "Warm at rest, cool on the move.")),
    Kind("SCK", "Clothing > Socks", "Hiking Socks", ("36-38", "39-41", "42-44", "45-47"),
         ("Merino blend", "Cotton mix"), (12, 29), (0.06, 0.11), ("socks", "hiking"),
         ("Padded at heel and toe.", "A flat toe seam does not rub.", "Left and right are knitted apart.")),
    Kind("GLV", "Clothing > Gloves", "Gloves", ("S", "M", "L", "XL"), ("Softshell", "Leather"), (25, 99), (0.07, 0.2),
         ("gloves", "winter"),
         ("Thumb and finger work a screen.", "A long cuff closes over the sleeve.", "The palm grips poles and rope.")),
    Kind("HRN", "Climbing > Harnesses", "Harness", ("S", "M", "L"), ("Nylon webbing",), (49, 129), (0.3, 0.5),
         ("climbing", "harness"),
         ("Four gear loops, shaped to swing forward.", "Leg loops adjust over winter trousers.",
          "The tie-in points show red when worn.")),
    Kind("ROP", "Climbing > Ropes", "Rope 9.6 mm", ("40 m", "60 m", "70 m", "80 m"), ("Polyamide",), (99, 289),
         (2.4, 4.9), ("climbing", "rope"),
         ("The middle is marked and stays marked.", "Dry treatment sheds water and grit.",
          "Handles softly after a season.")),
    Kind("HLM", "Climbing > Helmets", "Helmet", ("S/M", "L/XL"), ("EPP foam", "ABS shell"), (59, 139), (0.2, 0.36),
         ("climbing", "helmet"),
         ("One wheel adjusts it with gloves on.", "Clips hold a head torch.", "Vents face away from falling ice.")),
    Kind("POL", "Hiking > Trekking Poles", "Trekking Poles", ("110 cm", "120 cm", "130 cm"), ("Carbon", "Aluminium"),
         (49, 179), (0.34, 0.6), ("poles", "trekking"),
         ("Fold to 38 cm.", "Cork grips take the shape of your hand.", "Levers hold at -15 °C.")),
    Kind("CMP", "Hiking > Navigation", "Compass", (), ("Acrylic",), (19, 89), (0.03, 0.09), ("compass", "navigation"),
         ("The needle settles in two seconds.", "Declination adjusts without a tool.",
          "Scales for 1:25,000 and 1:50,000 along the edge.")),
)  # fmt: skip


class _Dice:
    """Choices made of ``random()`` alone, the one method Python promises to keep for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in range(min(count, len(rest)))]

    def chance(self, share: float) -> bool:
        return self._random() < share

    def between(self, low: float, high: float) -> float:
        return low + self._random() * (high - low)


def gtin13(number: int) -> str:
    """The GTIN-13 of a shop's own article number: prefix 29, ten digits, check digit.

    >>> gtin13(1)
    '2900000000018'
    """
    digits = f"29{number:010d}"
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def _money(amount: float) -> str:
    return f"{amount:.2f} {CURRENCY}"


def _shop_price(amount: float) -> float:
    """Prices as shops write them: whole tens less five cents."""
    return max(round(amount / 5) * 5, 5) - 0.05


def _style(kind: Kind, number: int, model: str, dice: _Dice) -> list[dict[str, str]]:
    """One model in all its variants."""
    brand = dice.pick(tuple(BRANDS))
    group = f"{kind.code}-{number:04d}"
    material = dice.pick(kind.materials)
    base_price = _shop_price(dice.between(*kind.price))
    base_weight = dice.between(kind.weight[0], (kind.weight[0] + kind.weight[1]) / 2)
    reduced = dice.chance(0.2)
    sizes = kind.sizes or ("",)
    colours = dice.some(tuple(COLOURS), 1 if not kind.sizes and dice.chance(0.5) else 2 + dice.below(2))
    text = [f"The {brand} {model} {kind.noun.lower()}.", *dice.some(kind.features, 2)]
    # A few descriptions keep the line breaks of the supplier's sheet, as exports do.
    description = ("\n" if dice.chance(0.04) else " ").join(text)
    if dice.chance(0.03):
        description = ""
    lone = len(sizes) * len(colours) == 1
    rows = []
    for colour in colours:
        slug = f"{brand}-{model}-{kind.noun}-{colour}".lower().replace(" ", "-").replace("ø", "o")
        images = [f"https://img.example.com/outdoor/{slug}-{view}.jpg" for view in ("front", "side", "back", "detail")]
        shown = images[: 1 + dice.below(len(images))]
        for step, size in enumerate(sizes):
            growth = step / max(len(sizes) - 1, 1)
            price = base_price + (round(growth * base_price / 50) * 10 if kind.sizes and kind.sizes != SHOES else 0)
            weight = base_weight + growth * (kind.weight[1] - base_weight) * 0.8
            stock = 0 if dice.chance(0.08) else 1 + dice.below(60)
            sku = group if lone else "-".join(filter(None, (group, COLOURS[colour], size.upper().replace(" ", ""))))
            rows.append(
                {
                    "SKU": sku.replace("PERSON", "P").replace("LITRES", "L").replace("LITRE", "L").replace("/", ""),
                    "Product name": f"{brand} {model} {kind.noun}" + ("" if lone else f", {colour}"),
                    "Description": description,
                    "Brand": brand,
                    "Category": kind.category,
                    "Price": _money(price),
                    "Compare-at price": _money(_shop_price(price * 1.25)) if reduced else "",
                    "EAN": "",
                    "MPN": f"{BRANDS[brand]}-{10_000 + dice.below(90_000)}",
                    "Colour": colour,
                    "Size": size,
                    "Material": "" if dice.chance(0.05) else material,
                    "Weight (kg)": f"{weight:.2f}",
                    "Tags": ", ".join((*kind.tags, "sale") if reduced else kind.tags),
                    "Image URL": shown[0],
                    "More images": ", ".join(shown[1:]),
                    "In stock": "yes" if stock else "no",
                    "Stock quantity": str(stock),
                    "Parent SKU": "" if lone else group,
                }
            )
    return rows


def _good(count: int, dice: _Dice) -> list[dict[str, str]]:
    """``count`` right records, model by model over all kinds, then in the order of the shop's categories."""
    shelves: dict[str, list[dict[str, str]]] = {kind.code: [] for kind in KINDS}
    total = number = 0
    while total < count:
        number += 1
        models = dice.some(MODELS, len(KINDS))
        for kind, model in zip(KINDS, models, strict=True):
            style = _style(kind, number, model, dice)[: count - total]
            shelves[kind.code] += style
            total += len(style)
    rows = [row for shelf in shelves.values() for row in shelf]
    for article, row in enumerate(rows, 1):
        row["EAN"] = "" if dice.chance(0.02) else gtin13(article * 37)
    return rows


def catalogue() -> Sample:
    """The whole catalogue."""
    dice = _Dice(SEED)
    faults = [(reason, column, value) for reason, (column, values) in REASONS.items() for value in values]
    doubles = 8
    good = _good(RECORDS - len(faults) - doubles, dice)

    planned: list[tuple[dict[str, str], str, str, str]] = [(row, "", "", "") for row in good]
    # A SKU typed again in small letters, later in the file and with news: the last word counts.
    for row in dice.some(good[: len(good) // 2], doubles):
        stock = 1 + dice.below(90)
        again = {**row, "SKU": row["SKU"].lower(), "Stock quantity": str(stock), "In stock": "yes"}
        planned.insert(len(good) // 2 + 1 + dice.below(len(good) // 2), (again, "", "", ""))
    # Bad records are new articles that nothing else in the file repeats: each one is lost if it is not mended.
    for number, (reason, column, value) in enumerate(faults, 1):
        row = {**dice.pick(good), "SKU": f"NEW-{number:04d}", "EAN": gtin13(900_000 + number), "Parent SKU": ""}
        if column:
            row[column] = value
        planned.insert(20 + dice.below(len(planned) - 20), (row, reason, column, value))

    records, bad = [], []
    for position, (row, reason, column, value) in enumerate(planned, 2):
        record = tuple(row[name] for name in HEADER)
        records.append((*record, value) if reason == "too many fields" else record)
        if reason:
            bad.append(Bad(position, row["SKU"], reason, column, value))
    created = len(records) - len(bad) - doubles
    return Sample(HEADER, tuple(records), tuple(bad), doubles, {"created": created})


def shelf(sample: Sample) -> dict[str, dict[str, str]]:
    """What a tenant's catalogue holds after importing ``sample``: by SKU key, the last value of each field."""
    rejected = {bad.row for bad in sample.bad}
    products: dict[str, dict[str, str]] = {}
    for row, record in enumerate(sample.records, 2):
        if row not in rejected:
            given = {name: cell for name, cell in zip(sample.header, record, strict=True) if cell}
            kept = products.setdefault(given["SKU"].lower(), {})
            products[given["SKU"].lower()] = {**given, **kept, **{k: v for k, v in given.items() if k != "SKU"}}
    return products


def update(first: Sample) -> Sample:
    """A week later: prices and stock of about a third of the catalogue, no names, and four SKUs nobody knows."""
    dice = _Dice(SEED + 1)
    products = [product for product in shelf(first).values() if dice.chance(0.3)]
    reason = "no name for a new SKU"
    records: list[tuple[str, ...]] = []
    bad: list[Bad] = []
    counts: Counter[str] = Counter()
    newcomers = {40 + 130 * number: f"NXT-{number:04d}" for number in range(1, 5)}
    for product in products:
        if sku := newcomers.pop(len(records), None):
            bad.append(Bad(len(records) + 2, sku, reason, "Product name", ""))
            records.append((sku, _money(49.95), "yes", "12"))
        row = {name: product[name] for name in UPDATE_HEADER}
        if dice.chance(0.1):
            row["Price"] = _money(_shop_price(float(product["Price"].split()[0]) * 0.9))
        if dice.chance(0.12):
            stock = dice.below(80)
            row["Stock quantity"], row["In stock"] = str(stock), "yes" if stock else "no"
        if dice.chance(0.08):
            row["Price"] = ""
        if dice.chance(0.05):
            row["In stock"] = row["Stock quantity"] = ""
        if dice.chance(0.02):
            row["SKU"] = row["SKU"].lower()
        changed = any(row[name] not in ("", product[name]) for name in UPDATE_HEADER[1:])
        counts["updated" if changed else "unchanged"] += 1
        records.append(tuple(row[name] for name in UPDATE_HEADER))
    if newcomers:
        raise ValueError(f"the update is too short for its new SKUs: {sorted(newcomers.values())}")
    return replace(
        first, header=UPDATE_HEADER, records=tuple(records), bad=tuple(bad), superseded=0, outcome=dict(counts)
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _bad_table(sample: Sample) -> str:
    cells = [
        (bad.row, f"`{bad.sku}`" if bad.sku else "", bad.reason, f"`{bad.value}`" if bad.value else "")
        for bad in sample.bad
    ]
    return _table(("Row", "SKU", "Fault", "Value"), cells)


def readme(first: Sample, second: Sample) -> str:
    """The text of ``samples/README.md``; its figures are counted from the files."""
    columns = {name: index for index, name in enumerate(first.header)}
    wrong = {bad.row for bad in first.bad}
    right = [record for row, record in enumerate(first.records, 2) if row not in wrong]

    def distinct(name: str) -> int:
        return len({record[columns[name]] for record in right} - {""})

    several_lines = sum("\n" in record[columns["Description"]] for record in first.records)
    ledgers = [
        (f"`{name}`", *sample.ledger.values())
        for name, sample in (("outdoor-gear.csv", first), ("outdoor-gear-update.csv", second))
    ]
    reasons = "\n".join(f"- {reason}: {count}" for reason, count in first.bad_by_reason.items())
    no_price = sum(record[1] == "" for record in second.records)
    only = ", ".join(f"`{name}`" for name in second.header)
    no_stock = sum(record[3] == "" for record in second.records)
    return f"""# Sample catalogue

An outdoor-gear shop that does not exist. `make demo` imports it; `python samples/make_outdoor.py` writes all three
files of this folder anew, byte for byte the same. Brands and models are invented, image URLs lead to `example.com`,
and the GTINs (prefix 29, kept by GS1 for a shop's own use) have right check digits.

## What an import should report

The second file is meant for after the first, for the same tenant.

{_table(("File", *first.ledger), ledgers)}

Rows are counted as in reports of the platform: the header is row 1, a record that spans lines is one row.

## `outdoor-gear.csv`

- {len(first.records):,} records, {len(first.header)} columns, UTF-8, comma separated
- {distinct("Category")} categories two deep, {distinct("Brand")} brands
- {distinct("Parent SKU")} variant groups by colour and size
- prices in {CURRENCY}
- {several_lines} records with a description of several lines

{first.superseded} records repeat an earlier SKU in small letters with other stock: one product, the later one counts.

{len(first.bad)} records are bad on purpose:

{reasons}

{_bad_table(first)}

The records with too many fields carry one cell more than the header; its value is shown.

## `outdoor-gear-update.csv`

- {len(second.records):,} records with {only}, and no name column
- {no_price} empty prices and {no_stock} empty stock cells, which keep what is there

{len(second.bad)} SKUs are new and cannot be created without a name:

{_bad_table(second)}
"""


def files() -> dict[str, bytes]:
    """Name and content of every file this module writes."""
    first = catalogue()
    second = update(first)
    return {
        "outdoor-gear.csv": first.to_csv(),
        "outdoor-gear-update.csv": second.to_csv(),
        "README.md": readme(first, second).encode(),
    }


def main() -> None:
    """Write the files beside this module."""
    for name, content in files().items():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
