"""Letting PostgreSQL's own user through to its folder when the stack runs as root.

PostgreSQL refuses to run as root. Its user must then pass every folder above its data and above its binaries,
and a home in ``/root`` is closed to it. Instead of opening such folders to everybody, one access-control entry
lets that one user pass (not list, not read).
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import struct
import subprocess
from pathlib import Path

from pim_platform.errors import Misconfigured

POSTGRES_USER = "pgserver"
"""The wheel's own convention for the user that PostgreSQL runs as under root."""

# linux/posix_acl_xattr.h: a version word, then (tag u16, permissions u16, id u32) entries sorted by tag and id.
_ACL = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_PASS = 1  # the execute bit: may go through


def postgres_user() -> pwd.struct_passwd | None:
    """The user to run PostgreSQL as: None unless we are root, made when missing. Raises Misconfigured."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    fix = f"Run as another user than root, or make a system user called {POSTGRES_USER}."
    if useradd is None:
        raise Misconfigured("PostgreSQL refuses to run as root, and there is no useradd here.", fix=fix)
    done = subprocess.run(
        [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", POSTGRES_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(POSTGRES_USER)  # perhaps another process was faster: only the result counts
    except KeyError:
        raise Misconfigured(f"The user {POSTGRES_USER} cannot be made: {done.stderr.strip()}.", fix=fix) from None


def let_pass(user: pwd.struct_passwd, folder: Path) -> None:
    """Make sure that ``user`` can go through every folder above ``folder``. Raises Misconfigured where it cannot."""
    for parent in reversed(folder.resolve().parents):
        status = parent.stat()
        if _may_pass(status, user):
            continue
        try:
            os.setxattr(parent, _ACL, _with_pass(_entries(parent, status.st_mode), user.pw_uid))
        except (OSError, AttributeError) as error:
            raise Misconfigured(
                f"PostgreSQL's user {user.pw_name} cannot pass the folder {parent}.",
                fix=f"Set PIM_HOME to a folder it can reach, or run: chmod o+x {parent}",
            ) from error


def _may_pass(status: os.stat_result, user: pwd.struct_passwd) -> bool:
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _entries(folder: Path, mode: int) -> dict[tuple[int, int], int]:
    """The folder's access-control list as ``{(tag, id): permissions}``; the plain mode where it has none."""
    try:
        raw = os.getxattr(folder, _ACL)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return {
            (_USER_OBJ, _NO_ID): mode >> 6 & 7,
            (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
            (_OTHER, _NO_ID): mode & 7,
        }
    return {(tag, owner): permissions for tag, permissions, owner in _ENTRY.iter_unpack(raw[len(_VERSION) :])}


def _with_pass(entries: dict[tuple[int, int], int], uid: int) -> bytes:
    """``entries`` plus the right to pass for ``uid``, packed; the mask grows no further than that needs."""
    entries = dict(entries)
    entries[(_USER, uid)] = entries.get((_USER, uid), 0) | _PASS
    mask = entries.get((_MASK, _NO_ID), entries[(_GROUP_OBJ, _NO_ID)])
    entries[(_MASK, _NO_ID)] = mask | _PASS
    packed = b"".join(_ENTRY.pack(tag, permissions, owner) for (tag, owner), permissions in sorted(entries.items()))
    return _VERSION + packed
