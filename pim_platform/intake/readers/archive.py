"""Archives: which member of a ZIP file is the product file, and content unpacked within limits.

Bombs are refused before anything is unpacked where the archive tells its sizes (ZIP), else while it happens (gzip).
Nothing is ever written under a member's own name.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.limits import Limits

#: Content of up to this many bytes is never a bomb, whatever its ratio: short repetitive files compress very well.
HARMLESS_BYTES = 64 * 1024 * 1024
#: The product file of an archive is at least this many times larger than the next candidate.
CLEARLY_LARGER = 4
#: Members shown in a message.
_SHOWN = 12
_BLOCK = 1024 * 1024
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError,
    OverflowError,
)  # fmt: skip

_DELIMITED = {"csv", "tsv", "tab", "psv", "txt", "asc", "dat"}
_WORKBOOKS = {"xlsx", "xlsm", "xlsb", "xls", "ods"}
_TREES = {"json", "jsonl", "ndjson", "jsonld", "xml", "rss", "atom"}
_DATA = frozenset(_DELIMITED | _WORKBOOKS | _TREES | {"parquet", "pq"})
_PACKED = frozenset({"zip", "gz", "gzip", "7z", "rar", "tar", "tgz", "bz2", "xz", "zst"})
_ABOUT_THE_REST = frozenset({"readme", "license", "licence", "copying", "changelog", "manifest"})


def open_zip(path: Path, name: str) -> zipfile.ZipFile:
    """The archive. Raises :class:`UnreadableFile` (``damaged_archive``) where its directory cannot be read."""
    with _told(name):
        return zipfile.ZipFile(path)


def product_member(archive: zipfile.ZipFile, name: str, wanted: str | None = None) -> zipfile.ZipInfo:
    """The member that holds the products: ``wanted``, or the only data file, or the clearly largest.

    Raises :class:`UnreadableFile` with code ``unknown_member``, ``nested_archive``, ``no_data_file``,
    ``several_members`` or ``encrypted_archive``.
    """
    members = [info for info in archive.infolist() if _counts(info)]
    if wanted is not None:
        found = next((info for info in archive.infolist() if info.filename == wanted and not _is_folder(info)), None)
        if found is None:
            raise UnreadableFile(
                f"{name} has no member {wanted!r}; it holds {_listed(members)}.",
                fix="Give one of these as `member`.", code="unknown_member", file=name, value=wanted,
            )  # fmt: skip
        return _readable(found, name)
    data = [info for info in members if _suffix(info) in _DATA]
    strangers = [info for info in members if _suffix(info) not in _DATA | _PACKED]
    candidates = data or (strangers if len(strangers) == 1 else [])
    if len(candidates) > 1:
        told = [i for i in candidates if PurePosixPath(i.filename).stem.casefold() not in _ABOUT_THE_REST]
        candidates = told or candidates
    if not candidates:
        if any(_suffix(info) in _PACKED for info in members):
            raise nested_archive(name)
        raise UnreadableFile(
            f"{name} holds no product file, only {_listed(members)}." if members else f"{name} is an empty archive.",
            fix="Put one CSV, Excel, JSON, XML or Parquet file into it, or name one of its files as `member`.",
            code="no_data_file", file=name,
        )  # fmt: skip
    candidates.sort(key=lambda info: info.file_size, reverse=True)
    if len(candidates) > 1 and candidates[0].file_size < CLEARLY_LARGER * max(1, candidates[1].file_size):
        raise UnreadableFile(
            f"{name} holds several files that may be the product file: {_listed(candidates)}.",
            fix="Say which one as `member` (`--member` on the command line), or upload them one by one.",
            code="several_members", file=name, expected="one product file",
        )  # fmt: skip
    return _readable(candidates[0], name)


def check_sizes(infos: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    """Refuse members that would unpack to too much, by what the archive says of them.

    Raises :class:`UnreadableFile` with code ``archive_bomb``.
    """
    unpacked, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    check_growth(unpacked, packed, name, limits)
    for info in infos:
        check_growth(info.file_size, info.compress_size, name, limits)


def check_growth(unpacked: int, packed: int, name: str, limits: Limits) -> None:
    """Refuse ``packed`` bytes that became ``unpacked`` ones, as far as is known. Raises as :func:`check_sizes`."""
    if unpacked <= HARMLESS_BYTES:
        return
    ratio = unpacked // max(packed, 1)
    if unpacked > limits.unpacked_bytes or ratio > limits.unpacked_ratio:
        raise UnreadableFile(
            f"{name} unpacks to {unpacked // 1024**2:,} MB or more, {ratio:,} times its size: that is refused.",
            fix="Upload the product file itself, or raise PIM_READER_MAX_UNPACKED_BYTES or PIM_READER_MAX_RATIO.",
            code="archive_bomb", file=name,
            expected=f"at most {limits.unpacked_bytes // 1024**2:,} MB and {limits.unpacked_ratio} times the size",
        )  # fmt: skip


@contextmanager
def member_stream(path: Path, name: str, member: str, limits: Limits) -> Iterator[IO[bytes]]:
    """The content of a member, after its sizes were checked."""
    with open_zip(path, name) as archive:
        info = product_member(archive, name, member)
        check_sizes([info], name, limits)
        with _told(name), archive.open(info) as stream:
            yield stream


def head_of(
    path: Path, compression: Literal["none", "gzip", "zip"], member: str | None, name: str, limits: Limits, size: int
) -> bytes:
    """The first ``size`` bytes of the content."""
    if compression == "zip":
        assert member is not None
        with member_stream(path, name, member, limits) as stream:
            return stream.read(size)
    if compression == "gzip":
        with _told(name), gzip.open(path) as packed:
            return packed.read(size)
    with path.open("rb") as file:
        return file.read(size)


def unpack(
    path: Path, compression: Literal["none", "gzip", "zip"], member: str | None, name: str, limits: Limits, out: Path
) -> Path:
    """The content as a plain file: ``path`` itself, or ``out``, which is written.

    Raises :class:`UnreadableFile` with code ``archive_bomb`` or ``damaged_archive``.
    """
    if compression == "none":
        return path
    if compression == "zip":
        assert member is not None
        with member_stream(path, name, member, limits) as stream, out.open("wb") as file:
            while block := stream.read(_BLOCK):
                file.write(block)
        return out
    done = 0
    with path.open("rb") as raw, _told(name), gzip.GzipFile(fileobj=raw) as packed, out.open("wb") as file:
        while block := packed.read(_BLOCK):
            done += len(block)
            check_growth(done, raw.tell(), name, limits)
            file.write(block)
    return out


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of the unpackers as an error that a person understands."""
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(name, error) from error
    except OSError as error:
        # gzip and bz2 raise it for bad data without a number, and a wrong offset is an invalid seek.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(name, error) from error
    except RuntimeError as error:  # zipfile's word for a password
        raise _encrypted(name) from error


def _readable(info: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    if info.flag_bits & 1:
        raise _encrypted(name)
    if _suffix(info) in _PACKED:
        raise nested_archive(name)
    return info


def _counts(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    # Folders, and what macOS and Windows put beside the files of people.
    return not _is_folder(info) and bool(parts) and parts[0] != "__MACOSX" and not parts[-1].startswith((".", "~$"))


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith("/")  # ZipInfo's own is_dir() fails on a name without any letter


def _suffix(info: zipfile.ZipInfo) -> str:
    return PurePosixPath(info.filename).suffix.lstrip(".").lower()


def _listed(infos: list[zipfile.ZipInfo]) -> str:
    shown = ", ".join(f"{info.filename!r} ({info.file_size:,} bytes)" for info in infos[:_SHOWN])
    return shown + (f" and {len(infos) - _SHOWN} more" if len(infos) > _SHOWN else "")


def _damaged(name: str, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        f"{name} is a damaged archive: {str(error) or type(error).__name__}.",
        fix="Pack it again and upload it once more.", code="damaged_archive", file=name, expected="an intact archive",
    )  # fmt: skip


def nested_archive(name: str) -> UnreadableFile:
    """The error for an archive in an archive."""
    return UnreadableFile(
        f"{name} holds another archive.", fix="Unpack it and upload the product file itself.",
        code="nested_archive", file=name, expected="a product file, packed at most once",
    )  # fmt: skip


def _encrypted(name: str) -> UnreadableFile:
    return UnreadableFile(
        f"{name} is protected by a password.", fix="Save it without a password and upload it again.",
        code="encrypted", file=name,
    )  # fmt: skip
