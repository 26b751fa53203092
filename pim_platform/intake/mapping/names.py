"""Reading a header: its words, and the locale, currency, unit or number written into it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pim_platform.catalog.schema import PRODUCT_COLUMNS, RESERVED_NAMES
from pim_platform.intake import vocabulary as words

#: ISO 639-1 codes of languages that catalogues are commonly written in.
LANGUAGES = frozenset(
    [
        "bg",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "es",
        "et",
        "fi",
        "fr",
        "hr",
        "hu",
        "is",
        "it",
        "ja",
        "ko",
        "lt",
        "lv",
        "nb",
        "nl",
        "nn",
        "no",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sl",
        "sr",
        "sv",
        "tr",
        "uk",
        "zh",
        "ar",
        "he",
        "th",
        "vi",
    ]
)
#: Codes that are also words or abbreviations in headers, accepted only with a region or after a point.
_SHY_LANGUAGES = frozenset({"no", "is", "it", "el", "ar", "he", "hr", "id", "sr"})
#: Units of mass, length, volume and area as headers write them.
UNITS = frozenset(
    [
        "kg",
        "g",
        "mg",
        "lb",
        "lbs",
        "oz",
        "t",
        "mm",
        "cm",
        "m",
        "in",
        "inch",
        "ft",
        "ml",
        "cl",
        "l",
        "m2",
        "m3",
        "cm3",
        "gram",
        "grams",
        "kilogram",
        "%",
        "w",
        "kw",
        "v",
        "mah",
    ]
)

_LOCALE = re.compile(r"^(.+?)(?:(?P<sep>[.\-_:/ ])|\s*[(\[])(?P<lang>[A-Za-z]{2})(?:[-_](?P<region>[A-Z]{2}))?[)\]]?$")
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")


@dataclass(frozen=True)
class HeaderFacts:
    """A header taken apart. ``key`` is its words in lower case, one space apart."""

    key: str
    full_key: str
    """With locale, currency and unit left in."""
    locale: str | None = None
    currency: str | None = None
    unit: str | None = None
    question: bool = False


def read_header(header: str) -> HeaderFacts:
    """Take a header apart.

    >>> read_header("price (EUR)").currency, read_header("name.de").locale, read_header("Weight (kg)").unit
    ('EUR', 'de', 'kg')
    """
    text = unicodedata.normalize("NFKC", header).replace("\ufeff", "").strip()
    full = key_of(text)
    locale = currency = unit = None
    match = _LOCALE.match(text)
    if match:
        lang, region = match["lang"].lower(), match["region"]
        bracketed = match["sep"] is None
        known = lang in LANGUAGES and (bool(region) or match["sep"] == "." or lang not in _SHY_LANGUAGES)
        if known and (match["lang"].islower() or bracketed) and (region or match["sep"] not in (" ", "/")):
            locale = f"{lang}-{region}" if region else lang
            text = match[1]
    for inner in _BRACKETS.findall(text):
        token = inner.strip()
        code = words.SIGNS.get(token.upper(), token.upper())
        if code in words.CURRENCY_CODES and currency is None:
            currency = code
        elif token.lower() in UNITS:
            unit = token.lower()
    text = _BRACKETS.sub(" ", text.replace("(s)", "s"))
    tokens = key_of(text).split()
    if len(tokens) > 1 and tokens[-1].upper() in words.CURRENCY_CODES and tokens[-1].upper() not in ("ALL", "TOP"):
        currency = currency or tokens.pop().upper()
    elif len(tokens) > 1 and tokens[-1] in UNITS and tokens[-1] not in ("in", "t", "l", "m", "g", "v", "w"):
        unit = unit or tokens.pop()
    if currency is None and (sign := next((s for s in "€£₹" if s in header), None)):
        currency = words.SIGNS[sign]
    return HeaderFacts(" ".join(tokens), full, locale, currency, unit, header.rstrip().endswith("?"))


def key_of(text: str) -> str:
    """The words of a text in lower case, one space apart; camel case is taken apart."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", unicodedata.normalize("NFKC", text))
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text)
    return " ".join(re.sub(r"[^\w]|_", " ", text).casefold().split())


def snake_case(header: str, fallback: str = "field") -> str:
    """A valid field name for a header: ASCII letters, digits and underscores, never reserved.

    >>> snake_case("Ärmel-Länge?"), snake_case("source")
    ('aermel_laenge', 'product_source')
    """
    text = key_of(header)
    for letter, ascii_letters in (
        ("ä", "ae"),
        ("ö", "oe"),
        ("ü", "ue"),
        ("ß", "ss"),
        ("æ", "ae"),
        ("ø", "o"),
        ("å", "a"),
    ):
        text = text.replace(letter, ascii_letters)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = "_".join(re.findall(r"[a-z0-9]+", text))[:60].strip("_")
    if not name:
        name = fallback
    if not name[0].isalpha():
        name = f"field_{name}"
    return f"product_{name}" if name in RESERVED_NAMES or name in PRODUCT_COLUMNS else name
