"""The asset graph is a contract: keys, jobs, sensors and schedules that people and dashboards refer to."""

from __future__ import annotations

from pim_platform.definitions import build_defs


def test_the_graph_holds_what_it_is_known_for() -> None:
    defs = build_defs()
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} >= {
        "intake/staged_rows",
        "catalog/products",
        "segmentation/products",
        "tenant/products",
        "pim/webhook_deliveries",
        "intake/feeds",
        "clickhouse/models/catalogue_growth",
        "clickhouse/models/completeness_by_field",
        "postgres/models/mapping_accuracy",
        "postgres/models/reject_reasons",
    }
    assert {sensor.name for sensor in defs.sensors or []} == {"inbox", "due_imports", "publisher", "webhooks", "feeds"}
    assert {schedule.name for schedule in defs.schedules or []} >= {"models_hourly_schedule", "maintenance_daily"}


def test_checks_belong_to_the_tenant_they_are_about() -> None:
    """A check without partitions showed success although one tenant had failed."""
    graph = build_defs().resolve_asset_graph()
    checks = {key.name: graph.get(key).partitions_def for key in graph.asset_check_keys}
    assert checks.keys() >= {"ledger_balances", "engines_agree"}
    assert all(found is not None and found.name == "tenants" for found in checks.values())
