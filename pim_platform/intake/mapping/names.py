"""Reading a header: its words, the path it names, and the locale, currency, unit or number written into it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pim_platform.catalog.schema import PRODUCT_COLUMNS, RESERVED_NAMES
from pim_platform.intake import vocabulary as words


def words_of(text: str) -> frozenset[str]:
    """The words of a text, as constants of this package are written."""
    return frozenset(text.split())


#: ISO 639-1 codes of languages that catalogues are commonly written in.
LANGUAGES = words_of(
    "bg cs da de el en es et fi fr hr hu is it ja ko lt lv nb nl nn no pl pt ro ru sk sl sr sv tr uk zh ar he th vi"
)
#: Codes that are also words or abbreviations in headers, accepted only with a region or after a point.
_SHY_LANGUAGES = frozenset({"no", "is", "it", "el", "ar", "he", "hr", "id", "sr"})
#: Units of mass, length, volume, area and power as headers write them.
UNITS = words_of(
    "kg g mg lb lbs oz t mm cm m in inch inches ft ml cl l m2 m3 cm3 gram grams kilogram kilograms % w kw v mah kgs gr "
    "кг г мм см м л мл"
)
#: Units that are words or initials too: alone at the end of a header they count only behind a quantity's name.
SHY_UNITS = frozenset({"in", "t", "l", "m", "g", "v", "w", "г", "м", "л"})

#: Parts of a path that hold the variants of a product.
VARIANTS = frozenset({"variants", "variant", "variations", "skus", "children", "edges", "offers", "models"})

_LOCALE = re.compile(r"^(.+?)(?:(?P<sep>[.\-_:/ ])|\s*[(\[])(?P<lang>[A-Za-z]{2})(?:[-_](?P<region>[A-Z]{2}))?[)\]]?$")
#: A language in front: ``NL_Titel`` (Lightspeed).
_LOCALE_BEFORE = re.compile(r"^([A-Z]{2}|[a-z]{2})_([A-Za-z].+)$")
#: Codes that stand for something else there: ``sl_no``, ``uk_size``.
_NEVER_BEFORE = _SHY_LANGUAGES | {"sl", "uk", "lt", "lv", "et", "vi", "th", "tr", "nn", "bg"}
#: A locale with a region in the middle: ``description-en_US-ecommerce`` (Akeneo: locale, then channel).
_SCOPED = re.compile(r"^(.+?)[-.](?P<lang>[a-z]{2})[-_](?P<region>[A-Z]{2})[-.](?P<channel>\w+)$")
_LOCALE_PART = re.compile(r"^([a-z]{2})(?:[-_]([A-Za-z]{2}))?$")
_BRACKETS = re.compile(r"[(\[（【]([^()\[\]（）【】]*)[)\]）】]")
#: ``value(s)``, ``Wert(e)``, ``valor(es)``.
_PLURAL = re.compile(r"(?<=\w)\((s|e|n|en|es|x|i)\)")
_QUESTION = re.compile(
    r"[(\[]\s*(0\s*[/|,]\s*1|1\s*[/|,]\s*0|y\s*/\s*n|yes\s*/\s*no|ja\s*/\s*nein|j\s*/\s*n|true\s*/\s*false)\s*[)\]]",
    re.IGNORECASE,
)
#: ``PARAM[Barva]``: a value that its record gives a name of its own.
_PAIR = re.compile(r"^((?:[^\s\[\]]|\[\])*[^\s\[\]./])\[([^\[\]]+)\]$")
#: Parts of a path: no white space, joined by points or slashes, lists marked with ``[]``.
_PATH = re.compile(r"^@?[^\s./:@\[\]()]+(\[\d*\])?([./]@?[^\s./:@\[\]()]+(\[\d*\])?)*$")


@dataclass(frozen=True)
class HeaderFacts:
    """A header taken apart. ``key`` is its words in lower case, one space apart; of a path, those of all its parts."""

    key: str
    full_key: str
    """With locale, currency and unit left in."""
    locale: str | None = None
    currency: str | None = None
    unit: str | None = None
    question: bool = False
    parents: tuple[str, ...] = ()
    """Keys of the parts of a path above the last one."""
    leaf: str = ""
    """Key of the last part of a path; empty where the header is no path."""
    lists: tuple[bool, ...] = ()
    """For each part of a path, the last included, whether it is marked as a list."""
    pair: bool = False
    """Whether the name comes from the data (``PARAM[Barva]``)."""
    attribute: bool = False
    """Whether the last part is an attribute of an element (``A/@x``) or a keyword of the format (``@type``)."""
    alternatives: tuple[str, ...] = ()
    """Keys of the names that a slash separates in a header that is no path."""
    xml: bool = False
    """Whether the path is one of XML, where lists are not marked."""


#: Currencies whose codes are words.
_ALSO_WORDS = frozenset(["ALL", "TOP"])


def read_header(header: str) -> HeaderFacts:
    """Take a header apart.

    >>> read_header("price (EUR)").currency, read_header("name.de").locale, read_header("Weight (kg)").unit
    ('EUR', 'de', 'kg')
    >>> read_header("variants[].sku").parents, read_header("variants[].sku").leaf, read_header("PARAM[Barva]").key
    (('variants',), 'sku', 'barva')
    """
    text = unicodedata.normalize("NFKC", header).replace("\ufeff", "").strip()
    text = _PLURAL.sub(r"\1", text)
    full = key_of(text)
    pair = _PAIR.match(text)
    if pair and not pair[2].isdigit() and pair[2].lower() not in UNITS and pair[2].upper() not in words.CURRENCY_CODES:
        inner = read_header(pair[2])
        return HeaderFacts(
            inner.key, inner.full_key, inner.locale, inner.currency, inner.unit, inner.question, pair=True
        )
    question = text.endswith("?") or bool(_QUESTION.search(text))
    locale = currency = unit = None
    text, locale = _without_locale(text)
    path = _path(text)
    if path is not None and path[3] is not None:
        locale = locale or path[3]
    for inner_text in _BRACKETS.findall(text):
        token = inner_text.strip()
        code = words.SIGNS.get(token.upper(), token.upper())
        if code in words.CURRENCY_CODES and currency is None:
            currency = code
        elif token.lower() in UNITS:
            unit = token.lower()
    text = _BRACKETS.sub(" ", text)
    tokens = key_of(text).split()
    if len(tokens) > 1 and tokens[-1].upper() in words.CURRENCY_CODES and tokens[-1].upper() not in _ALSO_WORDS:
        currency = currency or tokens.pop().upper()
    elif len(tokens) > 1 and tokens[-1] in UNITS and tokens[-1] not in SHY_UNITS:
        unit = unit or tokens.pop()
    if currency is None and (sign := next((s for s in "€£₹" if s in header), None)):
        currency = words.SIGNS[sign]
    several = tuple(filter(None, map(key_of, re.split(r"[/|]", text)))) if re.search(r"\w\s*[/|]\s*\w", text) else ()
    facts = HeaderFacts(" ".join(tokens), full, locale, currency, unit, question, alternatives=several)
    if path is None:
        return facts
    parents, leaf, lists, _ = path
    if parents and currency is not None and leaf.upper() == currency:
        parents, leaf, lists = parents[:-1], parents[-1], lists[:-1]
    if currency is None and (within := _currency_within(header, parents)) is not None:
        at, currency = within
        parents, lists = parents[:at] + parents[at + 1 :], lists[:at] + lists[at + 1 :]
    key = facts.key if len(parents) == 0 else " ".join([*parents, leaf])
    last = re.split(r"[/.]", header)[-1]
    return HeaderFacts(
        key, full, locale, currency, unit, question, parents=parents, leaf=leaf, lists=lists,
        attribute=last.startswith("@"), alternatives=facts.alternatives, xml="/" in header,
    )  # fmt: skip


def _currency_within(header: str, parents: tuple[str, ...]) -> tuple[int, str] | None:
    """The parent of a path that is a currency, as in ``prices.USD.gross``: its place and code, in capitals only."""
    codes = {part for part in re.split(r"[/.\[\]]+", header) if part in words.CURRENCY_CODES} - _ALSO_WORDS
    found = [(at, parent.upper()) for at, parent in enumerate(parents) if at and parent.upper() in codes]
    return found[0] if len(found) == 1 else None


def _without_locale(text: str) -> tuple[str, str | None]:
    before = _LOCALE_BEFORE.match(text)
    if before and before[1].lower() in LANGUAGES - _NEVER_BEFORE:
        return before[2], before[1].lower()
    scoped = _SCOPED.match(text)
    if scoped and scoped["lang"] in LANGUAGES:
        return scoped[1], f"{scoped['lang']}-{scoped['region']}"
    match = _LOCALE.match(text)
    if match is None:
        return text, None
    lang, region = match["lang"].lower(), match["region"]
    bracketed = match["sep"] is None
    known = lang in LANGUAGES and (bool(region) or match["sep"] == "." or lang not in _SHY_LANGUAGES)
    if known and (match["lang"].islower() or bracketed) and (region or match["sep"] not in (" ", "/")):
        return match[1], f"{lang}-{region}" if region else lang
    return text, None


def _path(text: str) -> tuple[tuple[str, ...], str, tuple[bool, ...], str | None] | None:
    """Keys of the parents, key of the last part, which parts are lists, and a locale among them; None if no path."""
    if not ("." in text or "/" in text or "[]" in text or text.startswith("@")) or not _PATH.match(text):
        return None
    locale = None
    keys: list[str] = []
    lists: list[bool] = []
    parts = re.split(r"/", text) if "/" in text else re.split(r"\.", text)
    for index, part in enumerate(parts):
        name = re.sub(r"\[\d*\]$", "", part).removeprefix("@")
        listed = part.endswith("[]")
        code = _LOCALE_PART.match(name)
        if code and index and code[1] in LANGUAGES and (code[2] or code[1] not in _SHY_LANGUAGES):
            locale = f"{code[1]}-{code[2].upper()}" if code[2] else code[1]
            if listed and lists:
                lists[-1] = True
            continue
        key = key_of(name)
        if key and not key.isdigit():
            keys.append(key)
            lists.append(listed)
    if not keys:
        return None
    return tuple(keys[:-1]), keys[-1], tuple(lists), locale


def key_of(text: str) -> str:
    """The words of a text in lower case, one space apart; camel case is taken apart, ``#`` is a number."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"(?<=\w)\s*#\s*$", " number", text).replace("MwSt", "Mwst")
    if not text.isupper():
        text = re.sub(r"([a-zß-öø-ÿа-яё0-9])([A-ZÀ-ÖØ-ÞА-ЯЁ])", r"\1 \2", text)
        text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text)
    return " ".join(re.sub(r"[^\w%]|_", " ", text).casefold().split())


_LETTERS = str.maketrans(
    {"ß": "ss", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ı": "i", "ð": "d", "þ": "th"}
)  # fmt: skip


#: Combining diacritical marks; the marks of kana lie elsewhere and make other syllables.
_ACCENTS = dict.fromkeys(range(0x300, 0x370))


def fold(key: str) -> str:
    """A key without accents, as many files write their headers; other scripts stay as they are."""
    if key.isascii():
        return key
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", key.translate(_LETTERS)).translate(_ACCENTS))


def snake_case(header: str, fallback: str = "field") -> str:
    """A valid field name for a header: ASCII letters, digits and underscores, never reserved.

    ``fallback`` is the name of a header without any letter or digit, as it is.

    >>> snake_case("Ärmel-Länge?"), snake_case("source"), snake_case("倉庫名")
    ('aermel_laenge', 'product_source', 'cang_ku_ming')
    """
    text = key_of(header).replace("%", " percent ")
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "a")):
        text = text.replace(letter, letters)
    text = fold(text)
    if not text.isascii():
        text = _romanised(text)
    name = "_".join(re.findall(r"[a-z0-9]+", text))[:60].strip("_")
    if not name:
        return fallback
    if not name[0].isalpha():
        name = f"field_{name}"
    return f"product_{name}" if name in RESERVED_NAMES or name in PRODUCT_COLUMNS else name


def _romanised(text: str) -> str:
    """Other scripts in Latin letters; syllables and characters that stand for words are kept apart."""
    from anyascii import anyascii

    return re.sub(r"([A-Z])", r" \1", anyascii(text)).lower().replace("'", "")
