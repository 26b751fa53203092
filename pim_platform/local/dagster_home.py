"""Dagster's instance of one home: its ``dagster.yaml``, ``workspace.yaml`` and storage tables.

Used by the stack and by ``--inline``. Nothing here imports Dagster but :func:`prepare_storage`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from pim_platform.local.home import Home
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import LOOPBACK, Endpoints

LOCATION = "pim"
"""Name of the code location in Dagster's UI."""

TENANT_TAG = "pim/tenant"
"""Run tag whose value is a tenant: one run per tenant at a time."""

FEED_TAG = "pim/feed"
"""Run tag of fetches: two of them at a time, whosever they are."""

_TABLES = ("runs", "event_logs", "jobs", "alembic_version")  # one of each of Dagster's three storages, and its own


def dagster_home(settings: Settings) -> Path:
    """Write ``dagster.yaml`` and ``workspace.yaml`` for ``settings``; returns the folder for DAGSTER_HOME."""
    home = Home(settings.home_path)
    endpoints = Endpoints.of(settings)
    # JSON is YAML, and its quoting leaves no doubt about any password.
    _replace(home.dagster / "dagster.yaml", json.dumps(instance_config(home, endpoints), indent=2))
    _replace(home.dagster / "workspace.yaml", json.dumps(_workspace(endpoints), indent=2))
    return home.dagster


def instance_config(home: Home, endpoints: Endpoints) -> dict[str, Any]:
    """The content of ``dagster.yaml``, spelled as Dagster 1.13's instance schema has it."""
    return {
        "storage": {"postgres": {"postgres_url": endpoints.dagster_url}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home.dagster)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home.dagster / "compute_logs")},
        },
        "run_queue": {
            "max_concurrent_runs": 4,
            # Looking every second instead of every five saves 1.4 s of an import's 5.4 s.
            "dequeue_interval_seconds": 1,
            "tag_concurrency_limits": [
                {"key": TENANT_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
                # A fetch may wait an hour for a slow server; imports do not wait for it.
                {"key": FEED_TAG, "limit": 2},
            ],
        },
        # The default launcher tells nobody of a run that never starts; the lease (D19) watches the others.
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "cancel_timeout_seconds": 60},
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 4},
        # A sensor ticks 17,000 times a day, mostly to skip.
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 1, "success": 14, "failure": 30, "started": 30}},
        },
        "telemetry": {"enabled": False},
    }


def _workspace(endpoints: Endpoints) -> dict[str, Any]:
    server = {"host": LOOPBACK, "port": endpoints.ports.code_server, "location_name": LOCATION}
    return {"load_from": [{"grpc_server": server}]}


def storage_exists(endpoints: Endpoints) -> bool:
    """Whether Dagster's tables of all three storages are there."""
    plain = endpoints.dagster_url.replace("postgresql+psycopg2", "postgresql", 1)
    try:
        with psycopg.connect(plain, connect_timeout=10) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE tablename = ANY (%s)", (list(_TABLES),)
            ).fetchone()
    except psycopg.Error:
        return False
    return row is not None and row[0] == len(_TABLES)


def prepare_storage(settings: Settings) -> None:
    """Create Dagster's tables where they are missing. One process at a time: Dagster's own start-up races."""
    folder = dagster_home(settings)
    with Home(settings.home_path).hold("dagster", shared=False):
        from dagster import DagsterInstance  # 1.2 s

        with DagsterInstance.from_config(str(folder)) as instance:
            instance.get_runs_count()


def _replace(path: Path, text: str) -> None:
    if path.exists() and path.read_text("utf-8") == text:
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600: it holds a password
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


if __name__ == "__main__":
    prepare_storage(Settings())
