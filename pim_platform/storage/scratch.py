"""Scratch files of this process, and those that processes killed before they could tidy up left behind.

Every scratch name says who made it: host, process and its start. What a dead process of this host left is removed
when the next import begins; a process of another host that shares the folder cannot be asked, so its files stay.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

_MARK = "pim-scratch"


def _host() -> str:
    return socket.gethostname().replace("~", "_").replace("/", "_")


@cache
def _name(pid: int) -> str:
    # By pid: a forked child is another process and must not pass for its parent.
    return f"{_MARK}~{_host()}~{pid}~{psutil.Process(pid).create_time():.2f}~"


def scratch_prefix(purpose: str) -> str:
    """How the name of a temporary file or folder of this process begins."""
    return f"{_name(os.getpid())}{purpose}-"


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A folder that is gone after the block, or after the next import where this process is killed."""
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(purpose)) as folder:
        yield Path(folder)


def clear_dead_scratch() -> int:
    """Remove what processes of this host that are gone left behind; returns how many files and folders."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_MARK}~{_host()}~*~*~*"):
        _, _, pid, started, _ = path.name.split("~", 4)
        if _is_alive(pid, started):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # somebody else may be at it as well
        else:
            with suppress(FileNotFoundError, PermissionError):
                path.unlink()
        removed += 1
    return removed


def _is_alive(pid: str, started: str) -> bool:
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 1)
    except (psutil.NoSuchProcess, ValueError):
        return False
