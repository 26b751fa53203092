"""Which format a file is in: by its content, and by its name only where the content leaves it open."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.archive import check_sizes, head_of, nested_archive, open_zip, product_member
from pim_platform.intake.readers.json_text import wide_encoding_of_json
from pim_platform.intake.readers.limits import Limits

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Compression, Format

#: Bytes looked at, decompressed.
HEAD_BYTES = 256 * 1024

ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
#: Compound File Binary: the old Excel format, and the envelope of an encrypted workbook ([MS-CFB] 2.2).
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_WORKBOOK_NAMES = frozenset({"xlsx", "xlsm", "xlsb", "xls", "ods", "xltx", "xltm"})
_JSON_START = re.compile(r'[\[{]\s*(["{\[\]}]|-?\d|true|false|null|$)')
_MARKUP_START = re.compile(r"<(\?xml|!doctype|!--|[A-Za-z_][\w:.-]*[\s>/])", re.IGNORECASE)
_HTML_START = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|table|div)\b", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class Kind:
    """How the bytes are packed and what they hold."""

    format: Format
    compression: Compression = "none"
    member: str | None = None


def recognise(path: Path, name: str, limits: Limits, *, member: str | None = None) -> Kind:
    """The format of a file; ``name`` is the user's name for it, ``member`` the wanted file of a ZIP archive.

    Raises :class:`UnreadableFile` with code ``not_a_workbook``, ``wrong_format``, ``unsupported_format``, or what
    :mod:`.archive` raises.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(GZIP_MAGIC):
        inner = head_of(path, "gzip", None, name, limits, HEAD_BYTES)
        shown = re.sub(r"\.(gz|gzip)$", "", name, flags=re.IGNORECASE)
        if inner.startswith(GZIP_MAGIC):
            raise nested_archive(name)
        # Whether a ZIP archive inside is a workbook shows only once it is unpacked; its reader says so.
        return Kind("xlsx" if inner.startswith(ZIP_MAGIC) else _format_of(inner, shown), "gzip")
    if head.startswith((ZIP_MAGIC, _EMPTY_ZIP_MAGIC)):
        return _inside_zip(path, name, limits, member)
    return Kind(_format_of(head, name))


def check_unpacked(path: Path, name: str, limits: Limits) -> None:
    """Refuse an archive in an archive, unless it is a workbook of an acceptable size.

    Raises :class:`UnreadableFile` with code ``nested_archive`` or ``archive_bomb``.
    """
    with path.open("rb") as file:
        head = file.read(len(ZIP_MAGIC))
    if head.startswith(GZIP_MAGIC):
        raise nested_archive(name)
    if head.startswith((ZIP_MAGIC, _EMPTY_ZIP_MAGIC)):
        with open_zip(path, name) as archive:
            if not _is_workbook(archive):
                raise nested_archive(name)
            check_sizes(archive.infolist(), name, limits)


def _inside_zip(path: Path, name: str, limits: Limits, member: str | None) -> Kind:
    with open_zip(path, name) as archive:
        if _is_workbook(archive):
            check_sizes(archive.infolist(), name, limits)
            return Kind("xlsx")
        if (
            "[Content_Types].xml" in archive.namelist()
            or PurePosixPath(name).suffix.lstrip(".").lower() in _WORKBOOK_NAMES
        ):
            raise not_a_workbook(name, "it is an archive without a workbook in it")
        info = product_member(archive, name, member)
    head = head_of(path, "zip", info.filename, name, limits, HEAD_BYTES)
    if head.startswith(GZIP_MAGIC):
        raise nested_archive(name)
    inner = "xlsx" if head.startswith(ZIP_MAGIC) else _format_of(head, PurePosixPath(info.filename).name)
    return Kind(inner, "zip", info.filename)


def _is_workbook(archive: zipfile.ZipFile) -> bool:
    names = set(archive.namelist())
    if names & {"xl/workbook.xml", "xl/workbook.bin"}:
        return True
    return {"mimetype", "content.xml", "META-INF/manifest.xml"} <= names


def _format_of(head: bytes, name: str) -> Format:
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    if head.startswith(OLE_MAGIC):
        return "xlsx"
    suffix = _suffix(name)
    text = _text(head)
    start = text.lstrip("\ufeff \t\r\n\x00")
    if _MARKUP_START.match(start):
        return _markup(start, name)
    if _JSON_START.match(start[:4096]):
        return _json_kind(start, suffix)
    if start and suffix in _WORKBOOK_NAMES and not _is_table(text):
        raise not_a_workbook(name, f"it begins with {start[:40]!r}")
    if start and suffix in {"json", "jsonl", "ndjson", "xml", "parquet", "pq"} and not _is_table(text):
        raise UnreadableFile(
            f"{name} is not {suffix.upper()}: it begins with {start[:40]!r}.",
            fix="Export the catalogue again and upload it.", code="wrong_format", file=name, value=start[:40],
        )  # fmt: skip
    return "csv"


def not_a_workbook(name: str, why: str) -> UnreadableFile:
    """The error for what has a workbook's name and is none."""
    return UnreadableFile(
        f"{name} is not an Excel workbook: {why}.",
        fix="Open it in the program it comes from, save it as .xlsx or CSV, and upload that.",
        code="not_a_workbook", file=name, expected="a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods)",
    )  # fmt: skip


def _markup(start: str, name: str) -> Format:
    if _HTML_START.match(start):
        raise UnreadableFile(
            f"{name} is an HTML page, which holds no product records.",
            fix="Export the catalogue as CSV, Excel, JSON or XML and upload that.", code="unsupported_format",
            file=name, expected="CSV, Excel, JSON, XML or Parquet, plain, gzip or zip",
        )  # fmt: skip
    if "urn:schemas-microsoft-com:office:spreadsheet" in start:
        raise not_a_workbook(name, "it is an XML spreadsheet of Excel 2003")
    return "xml"


def _json_kind(start: str, suffix: str) -> Format:
    first, end, rest = start.partition("\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return "jsonl" if suffix in ("jsonl", "ndjson") and not end else "json"
    if rest.lstrip()[:1] in ("{", "["):
        return "jsonl"
    return "jsonl" if suffix in ("jsonl", "ndjson") else "json"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lstrip(".").lower()


def _text(head: bytes) -> str:
    return head.decode(wide_encoding_of_json(head) or "utf-8", "replace")


def _is_table(text: str) -> bool:
    """Whether text is delimited: shops often call tab-separated text .xls."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    return len(lines) > 1 and any(
        all(line.count(delimiter) for line in lines) and len({line.count(delimiter) for line in lines}) <= 2
        for delimiter in "\t;,|"
    )
