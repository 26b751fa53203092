"""URLs and passwords that everything else connects with."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from pim_platform.errors import Misconfigured
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import Endpoints, database_of, password_of, secret, user_of, without_password


def test_embedded_urls_follow_the_port_and_carry_generated_passwords(tmp_path: Path) -> None:
    endpoints = Endpoints.of(Settings(home=tmp_path / "home", port=9000))
    assert endpoints.postgres_embedded
    assert endpoints.clickhouse_embedded
    assert (endpoints.ports.ui, endpoints.ports.dagster, endpoints.ports.code_server) == (9001, 9002, 9005)
    assert endpoints.app_url.endswith("@127.0.0.1:9004/pim")
    assert endpoints.dagster_url.startswith("postgresql+psycopg2://pim_dagster:")
    assert endpoints.dagster_url.endswith("/dagster")
    assert password_of(endpoints.app_url) == secret(tmp_path / "home", "pim_app")
    assert endpoints == Endpoints.of(Settings(home=tmp_path / "home", port=9000))


def test_a_given_server_lends_host_database_and_query_to_the_derived_roles(tmp_path: Path) -> None:
    url = "postgres://adm%40in:p%40ss%2Fword@db.example:6543/catalogue?sslmode=require"
    endpoints = Endpoints.of(Settings.model_validate({"home": tmp_path, "postgres_url": url}))
    assert not endpoints.postgres_embedded
    assert endpoints.admin_url.startswith("postgresql://adm%40in:p%40ss%2Fword@db.example:6543/catalogue")
    assert (user_of(endpoints.admin_url), password_of(endpoints.admin_url)) == ("adm@in", "p@ss/word")
    assert database_of(endpoints.app_url) == "catalogue"
    assert endpoints.app_url.endswith("@db.example:6543/catalogue?sslmode=require")
    assert without_password(endpoints.app_url) == "postgresql://pim_app@db.example:6543/catalogue"


def test_given_roles_win_and_dagsters_driver_is_always_psycopg2(tmp_path: Path) -> None:
    values = {
        "home": tmp_path,
        "postgres_app_url": "postgresql://a:b@h/d",
        "dagster_postgres_url": "postgresql+psycopg://x:y@h/dag",
    }
    endpoints = Endpoints.of(Settings.model_validate(values))
    assert endpoints.app_url == "postgresql://a:b@h/d"
    assert endpoints.dagster_url == "postgresql+psycopg2://x:y@h/dag"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postgres_url", "mysql://u:hush@h/d"),
        ("postgres_url", "postgresql://u:hush@h"),
        ("postgres_url", "postgresql://u:hush@h:port/d"),
        ("clickhouse_url", "clickhouse://u:hush@h:9000"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused_without_showing_its_password(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(Misconfigured) as caught:
        Endpoints.of(Settings.model_validate({"home": tmp_path, name: value}))
    assert f"PIM_{name.upper()}" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.fix


def test_secrets_are_private_and_the_same_for_everybody_who_asks_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(secret, [tmp_path] * 12, ["one", "two", "three"] * 4))
    assert len(set(answers)) == 3
    assert secret(tmp_path, "acme", group="analysts") != secret(tmp_path, "acme")
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_damaged_secrets_file_is_an_error_and_not_a_new_set_of_passwords(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"secrets\.json"):
        secret(tmp_path, "one")
