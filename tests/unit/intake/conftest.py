"""Helpers of the intake's tests: catalogues of real shops, where this machine has them."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "catalogues"


@pytest.fixture
def catalogues() -> Path:
    """The folder of real catalogue files; tests skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no catalogue files at {SHARED}")
    return SHARED
