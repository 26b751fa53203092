"""The log files of the parts: shown on the terminal with a prefix, and kept from growing without end.

Parts write into their files themselves (so they may outlive the supervisor); here the files are followed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import click

_ROTATE_BYTES = 10 * 1024 * 1024
_KEPT = 3  # old files per part
_READ_BYTES = 1024 * 1024  # at a time, so that one chatty part does not silence the others
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


@dataclass(slots=True)
class _Followed:
    path: Path
    colour: str
    offset: int
    rest: bytes = field(default=b"")


class Output:
    """Follows log files and prints. Not for several threads."""

    def __init__(self, width: int = 11) -> None:
        self._files: dict[str, _Followed] = {}
        self._width = width

    def follow(self, part: str, path: Path) -> None:
        """Show what is written to ``path`` from now on."""
        if part not in self._files:
            colour = _COLOURS[len(self._files) % len(_COLOURS)]
            self._files[part] = _Followed(path, colour, path.stat().st_size if path.exists() else 0)

    def say(self, text: str, *, part: str = "pim", error: bool = False) -> None:
        """Print a line of the supervisor's own."""
        click.echo(f"{self._prefix(part, 'red' if error else 'white')}{text}")

    def pump(self) -> None:
        """Print what came since the last call, and rotate files that grew too long."""
        for part, file in self._files.items():
            try:
                size = file.path.stat().st_size
            except FileNotFoundError:
                continue
            if size < file.offset:  # somebody emptied it
                file.offset = 0
            if size == file.offset:
                continue
            with file.path.open("rb") as stream:
                stream.seek(file.offset)
                data = stream.read(_READ_BYTES)
            file.offset += len(data)
            *lines, file.rest = (file.rest + data).split(b"\n")
            for line in lines:
                click.echo(self._prefix(part, file.colour) + line.decode("utf-8", "replace").rstrip())
            if file.offset > _ROTATE_BYTES:
                _rotate(file.path)
                file.offset = 0

    def _prefix(self, part: str, colour: str) -> str:
        return click.style(f"{part:<{self._width}} | ", fg=colour)


def _rotate(path: Path) -> None:
    """Copy, then empty: the writer appends to an open descriptor and cannot be asked to open another file."""
    for number in range(_KEPT, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    path.with_name(f"{path.name}.1").chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(0)
