"""Who types the command: what the audit trail calls the caller."""

from __future__ import annotations

import getpass

from pim_platform.tenancy.audit import Actor


def cli_actor() -> Actor:
    """``cli:<login name>``."""
    try:
        return Actor(f"cli:{getpass.getuser()}")
    except (KeyError, OSError):  # no login name, as in some containers
        return Actor("cli")
