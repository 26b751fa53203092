"""One whole stack, as `pim up` starts it, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pim_platform.intake.workspace import Workspace
from pim_platform.storage.postgres import dispose_engines
from tests.support.stacks import Stack, running, throwaway_settings

UP = "from pim_platform.cli import cli; cli(['up'])"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A running stack in a home of its own, whose webhooks may call this machine."""
    with throwaway_settings(outbound_allow_private=True) as settings, running(settings, UP) as started:
        yield started
        dispose_engines()


@pytest.fixture(scope="module")
def stores(stack: Stack) -> Workspace:
    """The stack's stores, as the test's own process reaches them."""
    return Workspace(stack.settings)
