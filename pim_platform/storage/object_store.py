"""The object store: uploads, staged Parquet and the inbox, on a folder or on S3 (obstore).

Keys are ours alone (design D21): names that users choose never become keys, except under ``inbox/``,
which users fill themselves.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.store import LocalStore, S3Store

from pim_platform.errors import InvalidRequest, Misconfigured, NotFound
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.storage.scratch import scratch_prefix

_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class StoredObject:
    """One listed object: its key, size in bytes, and when it was last written."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Digest:
    """What was seen while bytes streamed past: SHA-256 in hex and their number."""

    sha256: str
    size: int


class ObjectStore:
    """A bucket or folder. Every method raises what obstore raises where the store is out of reach."""

    def __init__(self, store: Any, root: Path | None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def of(cls, settings: Settings) -> ObjectStore:
        """The store that the settings name. Raises Misconfigured for a URL of another kind."""
        url = Endpoints.of(settings).object_store_url
        parts = urlsplit(url)
        if parts.scheme == "file":
            root = Path(unquote(parts.path))
            root.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(prefix=root), root)
        if parts.scheme != "s3" or not parts.netloc:
            raise Misconfigured(
                f"PIM_OBJECT_STORE_URL {parts.scheme}://... is not supported.",
                fix="Use file:///folder or s3://bucket/prefix.",
            )
        options: dict[str, Any] = {"bucket": parts.netloc, "region": settings.object_store_region}
        if settings.object_store_endpoint:
            options["endpoint"] = settings.object_store_endpoint
        if settings.object_store_access_key_id and settings.object_store_secret_access_key:
            options["access_key_id"] = settings.object_store_access_key_id.get_secret_value()
            options["secret_access_key"] = settings.object_store_secret_access_key.get_secret_value()
        plain = (settings.object_store_endpoint or "").startswith("http://")
        return cls(S3Store(prefix=parts.path.strip("/") or None, client_options={"allow_http": plain}, **options), None)

    def put_file(self, key: str, path: Path, *, given_up: bool = False) -> None:
        """Store the file's bytes under ``key``; whole or not at all.

        ``given_up``: nobody writes to the file again, so a folder on its file system links it instead of copying.
        """
        if given_up and self._root is not None and _link(path, self._root / key):
            return
        with path.open("rb") as file:
            obstore.put(self._store, key, file)

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store ``content`` under ``key``."""
        obstore.put(self._store, key, content)

    def read_bytes(self, key: str) -> bytes:
        """The object's content. Raises NotFound."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {key}.") from error

    def exists(self, key: str) -> bool:
        """Whether an object has that key."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects under a prefix, in no order."""
        for page in obstore.list(self._store, prefix=prefix):
            for meta in page:
                yield StoredObject(str(meta["path"]), int(meta["size"]), meta["last_modified"])

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    @contextmanager
    def local_copy(self, key: str, *, suffix: str = "") -> Iterator[Path]:
        """A path that holds the object's bytes while the block runs; not to be written to. Raises NotFound.

        On a folder it is the object itself; else the bytes are streamed into a temporary file.
        """
        if self._root is not None and not suffix:
            path = self._root / key
            if not path.is_file():
                raise NotFound(f"There is no object {key}.")
            yield path
            return
        with tempfile.NamedTemporaryFile(prefix=scratch_prefix("object"), suffix=suffix) as copy:
            try:
                for chunk in obstore.get(self._store, key).stream(min_chunk_size=_CHUNK):
                    copy.write(chunk)
            except FileNotFoundError as error:
                raise NotFound(f"There is no object {key}.") from error
            copy.flush()
            yield Path(copy.name)


def _link(path: Path, target: Path) -> bool:
    """Make ``target`` another name of the file; False where that cannot be, as across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}#{uuid4().int}")  # names that obstore does not list
    try:
        os.link(path, beside)
    except OSError:
        return False
    try:
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)  # of two names of one file a rename leaves both
    return True


class SpooledFile(io.RawIOBase):
    """A local file that is written once, front to back, and hashed on the way; a context manager.

    ``digest`` is of all that was written once it is closed; :meth:`restart` forgets it all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self._hash, self._size = path.open("wb"), hashlib.sha256(), 0

    def writable(self) -> bool:
        """Whether it may be written to: always."""
        return True

    def write(self, content: Any) -> int:
        """Append bytes."""
        self._hash.update(content)
        self._size += len(content)
        return self._file.write(content)

    def restart(self) -> None:
        """Begin anew with an empty file."""
        self._file.seek(0)
        self._file.truncate()
        self._hash, self._size = hashlib.sha256(), 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    @property
    def digest(self) -> Digest:
        """Of all that was written."""
        return Digest(self._hash.hexdigest(), self._size)


def spool(source: BinaryIO, target: Path, *, limit: int) -> Digest:
    """Copy a stream to ``target``, hashing on the way; raises InvalidRequest past ``limit`` bytes."""
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise InvalidRequest(
                    f"The file is larger than {limit:,} bytes.",
                    fix="Split it, or raise PIM_MAX_UPLOAD_BYTES.",
                    code="too_large",
                )
            digest.update(chunk)
            file.write(chunk)
    return Digest(digest.hexdigest(), size)


def clear_folder(path: Path) -> None:
    """Remove a scratch folder and all in it."""
    shutil.rmtree(path, ignore_errors=True)
