"""Converting a file into cells in a process that can be killed.

The parent (:func:`convert`) starts this module with ``python -m``, watches its time and memory, and reads what it
left in a scratch folder. The child unpacks, detects and converts with the reader of the format. Whatever a file does
to a parser, the process that serves others survives it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pim_platform.errors import UnreadableFile
from pim_platform.intake.readers.archive import unpack
from pim_platform.intake.readers.cells import SUMMARY_FILE, CellsWriter, Summary
from pim_platform.intake.readers.formats import Kind, check_unpacked
from pim_platform.intake.readers.limits import Limits

if TYPE_CHECKING:
    from pim_platform.intake.dialect import Dialect

#: Module of the reader of each format: it has ``detect(path, name) -> Dialect`` and ``convert(path, dialect, out)``.
READERS = {
    "xlsx": "pim_platform.intake.readers.xlsx",
    "json": "pim_platform.intake.readers.json_records",
    "jsonl": "pim_platform.intake.readers.json_records",
    "xml": "pim_platform.intake.readers.xml_records",
    "parquet": "pim_platform.intake.readers.parquet_file",
}

#: Seconds between two looks at the child's memory.
_LOOK_SECONDS = 0.05
_REQUEST_FILE, _ERROR_FILE, _DIALECT_FILE, _LOG_FILE = "request.json", "error.json", "dialect.json", "stderr.txt"
_TOLD = 3


@dataclass(frozen=True)
class Converted:
    """A file's cells in ``folder``, and the dialect that they were read by."""

    folder: Path
    dialect: Dialect
    summary: Summary


def convert(
    path: Path,
    name: str,
    kind: Kind,
    folder: Path,
    limits: Limits,
    *,
    dialect: Dialect | None = None,
    changes: dict[str, Any] | None = None,
) -> Converted:
    """Convert ``path`` into ``folder`` (empty); ``dialect`` None: detect it, with the fields of ``changes`` given.

    Raises :class:`UnreadableFile`: what the reader raised, or code ``reader_timeout``, ``reader_memory``,
    ``reader_crashed`` (ended by a signal) or ``reader_failed``.
    """
    from pim_platform.intake.dialect import Dialect

    request = {
        "path": str(path.absolute()),
        "name": name,
        "kind": asdict(kind),
        "limits": asdict(limits),
        "dialect": dialect.model_dump() if dialect else None,
        "changes": changes or {},
    }
    (folder / _REQUEST_FILE).write_text(json.dumps(request), "utf-8")
    status = _watched(folder, name, limits)
    if (folder / _ERROR_FILE).exists():
        told = json.loads((folder / _ERROR_FILE).read_text("utf-8"))
        raise UnreadableFile(told["message"], fix=told["fix"], code=told["code"], **told["place"])
    if status != 0:
        raise _died(folder, name, status)
    summary = Summary(**json.loads((folder / SUMMARY_FILE).read_text("utf-8")))
    found = Dialect.model_validate_json((folder / _DIALECT_FILE).read_text("utf-8"))
    return Converted(folder, found, summary)


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-P", "-m", __name__, str(folder)]


def _watched(folder: Path, name: str, limits: Limits) -> int:
    """Run the child to its end, or kill it; returns its exit status."""
    import psutil

    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    with (folder / _LOG_FILE).open("wb") as log:
        # Two pipes tell each side that the other is gone: the child's input ends with us, its output with it.
        child = subprocess.Popen(
            _command(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=folder
        )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        watched = psutil.Process(child.pid)
        deadline = time.monotonic() + limits.seconds
        while not select.select([child.stdout], [], [], _LOOK_SECONDS)[0]:
            if time.monotonic() > deadline:
                raise UnreadableFile(
                    f"{name} took longer than {limits.seconds:g} seconds to read.",
                    fix="Split it into several files, or raise PIM_READER_SECONDS.",
                    code="reader_timeout", file=name, expected=f"at most {limits.seconds:g} seconds",
                )  # fmt: skip
            with suppress(psutil.Error):
                if watched.memory_info().rss > limits.memory_bytes:
                    raise too_much_memory(name, limits)
        return child.wait()
    finally:
        if child.poll() is None:
            child.kill()
        child.stdin.close()
        child.stdout.close()
        child.wait()


def too_much_memory(name: str, limits: Limits) -> UnreadableFile:
    """The error for a file that needs more memory than the limit."""
    return UnreadableFile(
        f"{name} needs more than {limits.memory_bytes // 1024**2:,} MB of memory to read.",
        fix="Split it into several files, or raise PIM_READER_MEMORY_BYTES.",
        code="reader_memory", file=name, expected=f"at most {limits.memory_bytes // 1024**2:,} MB",
    )  # fmt: skip


def _died(folder: Path, name: str, status: int) -> UnreadableFile:
    if status < 0:
        number = -status
        label = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return UnreadableFile(
            f"{name} could not be read: its reader was ended by {label}.",
            fix="Save the file anew in the program it comes from, or export it as CSV, and upload that.",
            code="reader_crashed", file=name, value=label,
        )  # fmt: skip
    lines = (folder / _LOG_FILE).read_text("utf-8", "replace").strip().splitlines()
    return UnreadableFile(
        f"{name} could not be read: {lines[-1][:200] if lines else f'its reader ended with status {status}'}.",
        fix="Save the file anew in the program it comes from, or export it as CSV, and upload that.",
        code="reader_failed", file=name,
    )  # fmt: skip


def read_into(
    path: Path,
    name: str,
    kind: Kind,
    folder: Path,
    limits: Limits,
    *,
    dialect: Dialect | None = None,
    changes: dict[str, Any] | None = None,
) -> Dialect:
    """What the child does, in this process: nothing ends it. Returns the dialect; :func:`convert` says the rest."""
    plain = unpack(path, kind.compression, kind.member, name, limits, folder / "unpacked")
    if plain != path:
        check_unpacked(plain, name, limits)
    out = CellsWriter(folder, name, limits)
    reader = importlib.import_module(READERS[kind.format])
    if dialect is None:
        # Where the records are decides what else is found, so a reader that asks for it is told first.
        told = {"note": out.note, **(changes or {})}
        found = reader.detect(plain, name, **{key: told[key] for key in _asked(reader) if key in told})
        packed = {"compression": kind.compression, "member": kind.member}
        dialect = found.model_copy(update=packed).changed(changes or {})
    reader.convert(plain, dialect.model_copy(update={"compression": "none", "member": None}), out)
    out.close()
    if plain != path:
        plain.unlink()
    return dialect


def _child(folder: Path) -> int:
    from pim_platform.intake.dialect import Dialect

    request = json.loads((folder / _REQUEST_FILE).read_text("utf-8"))
    limits, name = Limits(**request["limits"]), request["name"]
    given = Dialect.model_validate(request["dialect"]) if request["dialect"] is not None else None
    try:
        dialect = read_into(
            Path(request["path"]), name, Kind(**request["kind"]), folder, limits, dialect=given,
            changes=request["changes"],
        )  # fmt: skip
    except UnreadableFile as error:
        told = {"message": error.message, "fix": error.fix, "code": error.code, "place": error.place}
    except MemoryError:
        refused = too_much_memory(name, limits)
        told = {"message": refused.message, "fix": refused.fix, "code": refused.code, "place": refused.place}
    except Exception:  # noqa: BLE001 - the parent tells it, with the last line of what is printed here
        traceback.print_exc()
        return 1
    else:
        (folder / _DIALECT_FILE).write_text(dialect.model_dump_json(), "utf-8")
        return 0
    (folder / _ERROR_FILE).write_text(json.dumps(told, default=str), "utf-8")
    return _TOLD


def _asked(reader: Any) -> tuple[str, ...]:
    """Keyword arguments of a reader's ``detect`` beside path and name."""
    return tuple(reader.detect.__kwdefaults__ or ())


class _WithoutPandas:
    """pyarrow asks pandas about the lists it is given, and importing pandas takes longer than reading most files."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _end_with_parent() -> None:
    with suppress(OSError):
        sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.meta_path.insert(0, _WithoutPandas())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _status = _child(Path(sys.argv[1]))
    sys.stderr.flush()
    # Nothing is left to tidy up, and waiting for allocators and thread pools to do so takes time.
    os._exit(_status)
