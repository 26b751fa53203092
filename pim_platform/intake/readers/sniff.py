"""Guesses about a text file from its first bytes: encoding, delimiter, quoting, header.

Pure functions over a sample; :mod:`pim_platform.intake.dialect` puts their answers together.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections import Counter
from dataclasses import dataclass

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.headers import find_header
from pim_platform.intake.readers.source import Sample

#: Delimiters tried, the likelier first; ties go to the earlier.
DELIMITERS = ",;\t|^~\x1f\x01"
#: Characters of the head that the delimiter is judged by; below the csv module's largest field (131072).
SHAPE_CHARS = 65_536
#: Records of the head that header and shape are judged by.
SHAPE_RECORDS = 300

#: First bytes of formats that are not delimited text, and what people call them.
MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PAR1", "a Parquet file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
)
_CONTROL = bytes(set(range(32)) - set(b"\x01\t\n\r\x0b\x0c\x1a\x1b\x1e\x1f")) + b"\x7f"
_WESTERN = frozenset(
    "äöüÄÖÜßéèêëàâáãåæçíìîïñóòôõøœúùûÿýÉÈÊËÀÂÁÃÅÆÇÍÌÎÏÑÓÒÔÕØŒÚÙÛÝ€£§°²³½¼¾´’‘“”„‚–—…•·®™©«»¿¡ºª×±µ\xa0¢¥"
)
#: Encodings of one alphabet or script each, which the same bytes can be read by.
_LEGACY = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp932", "euc_jp", "gb18030",
    "cp949", "big5",
)  # fmt: skip
#: Lines whose cells are looked up as names of columns, and how long such a name can be.
_NAMED_LINES, _NAME_CHARS = 40, 60


@dataclass(frozen=True)
class Shape:
    """Delimiter and quoting, and the records of the head as they read with them."""

    delimiter: str
    quote: str | None
    escape: str | None
    records: list[list[str]]
    instructions: int = 0
    """Records at the start that only name the delimiter, as Excel's ``sep=;`` does."""


def refuse_binary(head: bytes, name: str) -> None:
    """Raise :class:`UnreadableFile` (``not_text``) for bytes that no delimited text can begin with."""
    kind = next((label for magic, label in MAGIC if head.startswith(magic)), None)
    wide = wide_encoding(head)
    if kind is None and wide is None:
        control = len(head) - len(head.translate(None, _CONTROL))
        # A stray control character happens in exports; a share above 1 % does not.
        if control > max(2, len(head) // 100):
            kind = "binary data"
    elif kind is None and wide is not None and not re.search(r"[\r\n,;\t|]", head.decode(wide, "replace")):
        kind = "binary data"  # a table in UTF-16 has line ends and delimiters like any other
    if kind is not None:
        raise UnreadableFile(
            f"{name} is not a text file: it looks like {kind}.",
            fix="Export the catalogue as CSV (UTF-8) and upload that.", code="not_text",
            file=name, expected="delimited text such as CSV or TSV, plain or gzip",
        )  # fmt: skip


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by byte order mark or by the NULs of mostly ASCII text; None for anything else."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    part = head[: 4096 & ~3]
    part = part[: len(part) & ~3]
    if len(part) < 8:
        return None
    quarter = len(part) // 4
    nulls = [part[offset::4].count(0) > 0.4 * quarter for offset in range(4)]
    clean = [part[offset::4].count(0) < 0.05 * quarter for offset in range(4)]
    if nulls == [False, True, True, True] and clean[0]:
        return "utf-32-le"
    if nulls == [True, True, True, False] and clean[3]:
        return "utf-32-be"
    if nulls == [False, True, False, True] and clean[0] and clean[2]:
        return "utf-16-le"
    return "utf-16-be" if nulls == [True, False, True, False] and clean[1] and clean[3] else None


def refuse_other_formats(text: str, name: str) -> None:
    """Raise :class:`UnreadableFile` (``unsupported_format``) for text that is XML, HTML or JSON."""
    start = text.lstrip()[:200]
    kind = None
    if re.match(r"<(\?xml|!doctype|[a-z][\w:.-]*[\s>/])", start, re.IGNORECASE):
        kind = "XML or HTML"
    elif re.match(r'[\[{]\s*(["{\[]|$)', start):
        kind = "JSON"
    if kind:
        raise UnreadableFile(
            f"{name} looks like {kind}, which is not read yet.",
            fix="Export the catalogue as CSV (UTF-8) and upload that.", code="unsupported_format",
            file=name, expected="delimited text such as CSV or TSV, plain or gzip",
        )  # fmt: skip


def detect_encoding(sample: Sample) -> str:
    """The Python codec of the sample: by byte order mark, then UTF-8, by known names, Japanese, Western, any other."""
    head = sample.head
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if wide := wide_encoding(head):
        return wide
    if sample.valid_utf8:
        return "utf-8"
    odd = sample.odd
    undecodable = odd.decode("utf-8", "replace").count("\ufffd")
    high = len(odd) - len(odd.translate(None, bytes(range(128, 256))))
    # A UTF-8 file with a few damaged lines is still UTF-8; those lines become rejects.
    if undecodable * 10 < high:
        return "utf-8"
    if named := _encoding_by_names(head):
        return named
    for codec in ("cp932", "euc_jp"):
        if _japanese(odd, codec):
            return codec
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", odd)]
    western = odd.decode("cp1252", "replace")
    marks = [c for c in western if ord(c) > 127]
    # Letters of Western languages stand alone or in pairs (Größe) among ASCII; other alphabets come in long runs.
    if sum(runs) < 2.5 * len(runs) and sum(c in _WESTERN for c in marks) >= 0.9 * len(marks):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(odd).best()
    return best.encoding if best is not None and best.encoding not in ("utf_8", "ascii") else "cp1252"


def _encoding_by_names(head: bytes) -> str | None:
    """The codec by which more cells of the first lines are known names of columns than by any other.

    Alphabets that share their bytes (``Adı`` and ``Adý``) are told apart by words, not by how often letters come.
    """
    from pim_platform.intake.mapping.dictionary import dictionary
    from pim_platform.intake.mapping.names import key_of

    names = dictionary()
    lines = b"\n".join(re.split(rb"[\r\n]+", head[:SHAPE_CHARS])[:_NAMED_LINES])
    counts = Counter[str]()
    for codec in _LEGACY:
        cells = {cell.strip(" \"'") for cell in re.split(r"[\n,;\t|]", lines.decode(codec, "replace"))}
        keys = {key_of(cell) for cell in cells if not cell.isascii() and len(cell) <= _NAME_CHARS}
        counts[codec] = sum(key in names.targets or key in names.attributes for key in keys)
    (best, most), (_, next_most) = counts.most_common(2)
    return best if most > next_most else None


def decode_head(head: bytes, encoding: str, *, complete: bool) -> str:
    """The head as text, without byte order mark; an incomplete head ends at its last line end."""
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if not complete:
        cut = max(text.rfind("\n"), text.rfind("\r"))
        text = text[: cut + 1] if cut > 0 else text
    return text


def detect_shape(text: str, line_end: str, *, complete: bool, delimiter: str | None = None) -> Shape:
    """Delimiter (unless it is given), quote and escape that make the records of ``text`` most alike."""
    part = text[:SHAPE_CHARS]
    if line_end == "\r":
        part = part.replace("\r", "\n")
    whole = complete and len(text) <= SHAPE_CHARS
    named = re.match(r'"?sep=([^\r\n"])"?[^\w\r\n]*\n?', part, re.IGNORECASE)
    delimiters = delimiter or (named[1] if named and named[1].isascii() else DELIMITERS)
    quotes = ['"']
    if len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", part, re.MULTILINE)) >= 3 and '"' not in part:
        quotes = ["'"]
    best: tuple[float, Shape] | None = None
    for delimiter in delimiters:
        for quote in quotes:
            for escape in (None, "\\") if f"\\{quote}" in part else (None,):
                records = parse(part, delimiter, quote, escape, whole=whole)
                score = _alike(records)
                if escape is None and f"\\{quote}" in part and not _strict(part, delimiter, quote, whole):
                    score *= 0.5
                if best is None or score > best[0] + 1e-9:
                    best = score, Shape(delimiter, quote, escape, records, int(named is not None))
    assert best is not None
    return best[1]


def parse(text: str, delimiter: str, quote: str | None, escape: str | None, *, whole: bool) -> list[list[str]]:
    """Up to ``SHAPE_RECORDS`` records of a text; the last is left out where the text is cut off."""
    reader = csv.reader(
        io.StringIO(text.replace("\0", ""), newline=""), delimiter=delimiter, quotechar=quote, escapechar=escape,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL, skipinitialspace=False,
    )  # fmt: skip
    records: list[list[str]] = []
    cut = True
    try:
        for record in reader:
            if len(records) >= SHAPE_RECORDS:
                break
            if record and any(record):
                records.append(record)
        else:
            cut = not whole
    except csv.Error:
        return records
    return records[:-1] if cut and len(records) > 2 else records


def _alike(records: list[list[str]]) -> float:
    start = find_header(records).row or 0
    records = records[start:]
    if not records:
        return 0.0
    widths = Counter(len(record) for record in records)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    header = len(records[0])
    if header == 1 and width == 1:
        return 0.05
    # Rows cut short at the end are common and harmless; rows longer than the header are neither.
    fitting = sum(n for w, n in widths.items() if w <= header) / len(records)
    score = (count / len(records) + fitting) / 2 * (1 + math.log(max(width, 1)))
    return score if header >= width and header > 1 else score * 0.3


def _strict(text: str, delimiter: str, quote: str, whole: bool) -> bool:
    lines = io.StringIO(text.replace("\0", ""), newline="")
    try:
        for _ in csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error) and not whole
    return True


def _japanese(data: bytes, codec: str) -> bool:
    text = data.decode(codec, "replace")
    marks = [c for c in text if ord(c) > 127]
    if not marks or marks.count("\ufffd") > 0.02 * len(marks):
        return False
    kana = sum("\u3041" <= c <= "\u30ff" for c in marks)
    common = sum("\u3000" <= c <= "\u9fff" or "\uff01" <= c <= "\uff5e" for c in marks)
    # One sign between Latin letters is an umlaut and the letter behind it, not a word.
    lone = len(re.findall(r"(?<=[A-Za-z])[^\x00-\x7f](?=[a-z])", text))
    return common >= 0.9 * len(marks) and (kana > 0 or (codec == "cp932" and lone < 0.5 * len(marks)))
