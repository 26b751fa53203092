"""Fixtures for tests on the real engines: one embedded PostgreSQL and ClickHouse per test session.

Tests are independent because each makes its own tenants; nothing is cleaned up in between.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from pim_platform.intake.workspace import Workspace
from pim_platform.local.engines import engines
from pim_platform.settings import Settings
from pim_platform.storage.postgres import dispose_engines
from pim_platform.tenancy.audit import Actor
from pim_platform.tenancy.tenants import ConfirmPolicy, TenantInfo, create_tenant
from tests.support.stacks import throwaway_settings

# Examples may take as long as a busy machine needs. `make test` tries the same ones each time, so that it fails for a
# change and not by chance; new ones are looked for by `make test-full`.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("searching", _PATIENT, print_blob=True)
hypothesis.settings.register_profile("repeatable", _PATIENT, derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile of hypothesis before any test module is imported."""
    hypothesis.settings.load_profile("repeatable" if config.option.markexpr == "not full" else "searching")


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """Settings of a home of its own."""
    with throwaway_settings() as made:
        yield made


@pytest.fixture(scope="session")
def workspace(settings: Settings) -> Iterator[Workspace]:
    """A workspace on real embedded engines, migrated."""
    with engines(settings):
        yield Workspace(settings)
        dispose_engines()


@pytest.fixture(scope="session")
def make_tenant(workspace: Workspace) -> Callable[..., TenantInfo]:
    """Makes a tenant with a name of its own."""

    def make(policy: ConfirmPolicy = "never", currency: str = "EUR", locale: str = "en-US") -> TenantInfo:
        return create_tenant(
            workspace.app,
            "t" + uuid.uuid4().hex[:12],
            currency=currency,
            locale=locale,
            timezone="UTC",
            confirm_policy=policy,
            actor=Actor("test"),
        )

    return make


@pytest.fixture
def catalogues() -> Path:
    """The folder of real product files beside the project; skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "catalogues"
    if not folder.is_dir():
        pytest.skip("the catalogues of real product files are not beside the project (../shared/data/catalogues)")
    return folder
