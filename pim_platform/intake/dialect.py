"""How a product file is written: one frozen value, detected once, shown, overridable.

The same :class:`Dialect` drives preview and import alike, so what a person saw is what is read. Only the fields of
its format matter. Delimited text is detected by the head of the file and samples spread over it, never by reading a
large file whole; what the other formats need is found by their readers.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pim_platform.errors import InvalidRequest

Format = Literal["csv", "xlsx", "json", "jsonl", "xml", "parquet"]
Compression = Literal["none", "gzip", "zip"]


class Dialect(BaseModel):
    """How to read one file; it travels as JSON. Change it with :meth:`changed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = Field("csv", description="csv: any delimited text; xlsx: any workbook; JSON-LD is json.")
    compression: Compression = "none"
    member: str | None = Field(None, description="The file inside a ZIP archive.")
    sheet: str | None = Field(None, description="The sheet of a workbook.")
    record_path: str | None = Field(
        None, description="Where the records are: `$`, `$[*]`, `$.products[*]` in JSON, `SHOP/SHOPITEM` in XML."
    )
    expand: str | None = Field(
        None, description="The nested list whose entries get rows of their own: `variants[]`, `VARIANTS/VARIANT`."
    )
    encoding: str = Field("utf-8", description="Python codec name; a byte order mark is always removed.")
    delimiter: str = Field(",", min_length=1, max_length=1, pattern=r"^[\x01-\x7f]$")
    quote: str | None = Field('"', description="None: quotes are ordinary characters.", pattern=r"^[\x01-\x7f]$")
    escape: str | None = Field(
        None, description="Escape character; None: a quote is doubled.", pattern=r"^[\x01-\x7f]$"
    )
    line_end: Literal["\n", "\r"] = Field("\n", description="What ends a record; CRLF counts as LF.")
    header_row: int | None = Field(0, ge=0, description="0-based record that holds the headers; None: no header.")
    header_rows: int = Field(1, ge=1, le=10, description="Records that the header spans, joined into one label each.")
    width: int = Field(0, ge=0, description="Columns; 0: as many as the first record has.")
    decimal: Literal[".", ","] | None = Field(None, description="Decimal sign where a column itself does not tell.")
    columns: tuple[str, ...] | None = Field(
        None, description="Columns of a tree format, by name and in this order; None: all, as they appear."
    )
    date_order: Literal["DMY", "MDY", "YMD"] | None = Field(
        None, description="Order of day, month and year where a date itself does not tell."
    )
    notation: Literal["free", "own"] = Field(
        "free", description="own: the platform's own notation, as its exports are written: nothing is guessed."
    )

    def changed(self, changes: Mapping[str, Any]) -> Dialect:
        """This dialect with the fields of ``changes`` (see :func:`parse_changes`).

        Raises :class:`InvalidRequest` with code ``invalid_dialect`` where one has no meaning for the format.
        """
        meant = {*_BY_FORMAT[self.format], *(("member",) if self.compression == "zip" else ())}
        for name, value in changes.items():
            if name not in meant:
                kind = f"{self.format} in an archive" if self.compression == "zip" else self.format
                raise InvalidRequest(
                    f"The file is {kind}, for which {name!r} has no meaning.",
                    fix=f"Leave it out, or give any of: {', '.join(sorted(meant))}.",
                    code="invalid_dialect", column=name, value=value, expected=", ".join(sorted(meant)),
                )  # fmt: skip
        update = dict(changes)
        if "header_row" in update and "header_rows" not in update:
            update["header_rows"] = 1
        return self.model_copy(update=update)


_TREE = ("record_path", "expand", "encoding", "decimal", "date_order", "notation")
_BY_FORMAT: dict[Format, tuple[str, ...]] = {
    "csv": (
        "encoding", "delimiter", "quote", "escape", "line_end", "header_row", "header_rows", "decimal", "date_order",
        "notation",
    ),
    "xlsx": ("sheet", "header_row", "header_rows", "decimal", "date_order", "notation"),
    "json": _TREE,
    "jsonl": _TREE,
    "xml": _TREE,
    "parquet": ("decimal", "date_order", "notation"),
}  # fmt: skip
#: The fields that a person may give; format and compression are what the file is.
CHANGEABLE = tuple(dict.fromkeys(("member", *(name for names in _BY_FORMAT.values() for name in names))))


def parse_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dialect that a person gave, checked. Raises :class:`InvalidRequest` with code ``invalid_dialect``.

    >>> parse_changes({"delimiter": ";", "header_row": None})
    {'delimiter': ';', 'header_row': None}
    """
    unknown = [name for name in given if name not in CHANGEABLE]
    if unknown:
        raise _invalid(f"The dialect has no field {unknown[0]!r} that can be given", unknown[0], given[unknown[0]])
    try:
        checked = Dialect.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise _invalid(f"The dialect's {name} cannot be {given[name]!r}: {message}", name, given[name]) from error
    try:
        codecs.lookup(checked.encoding)
    except LookupError as error:
        raise InvalidRequest(
            f"The encoding {checked.encoding!r} is unknown.", fix="Use a name such as utf-8, cp1252 or shift_jis.",
            code="unknown_encoding", column="encoding", value=checked.encoding,
        ) from error  # fmt: skip
    return {name: getattr(checked, name) for name in given}


def _invalid(message: str, name: str, value: Any) -> InvalidRequest:
    return InvalidRequest(
        f"{message}.", fix=f"Fields that can be given: {', '.join(CHANGEABLE)}.", code="invalid_dialect", column=name,
        value=str(value),
    )  # fmt: skip


def detect_dialect(path: Path, *, filename: str | None = None, changes: Mapping[str, Any] | None = None) -> Dialect:
    """Find out how ``path`` is written; ``filename`` is the user's name for it, used in messages.

    ``changes``: what a person says of it. Raises :class:`UnreadableFile` with code ``empty_file``, ``header_only``,
    ``not_text``, ``unsupported_format`` or another that names what is wrong with the file.
    """
    from pim_platform.intake.readers.opening import OpenFile  # it reads by dialects

    with OpenFile(path, filename) as file:
        return file.detect(changes)
