"""The client and the commands that use it, against an API on a real port of the session's engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from pim_platform.api.app import create_app
from pim_platform.catalog.lock import lock_catalogue
from pim_platform.client import Client
from pim_platform.errors import ApiProblem
from pim_platform.storage.postgres import tenant_session
from tests.integration.api.conftest import TENTS, Api
from tests.support.served import served
from tests.support.worker import worker


@pytest.fixture(scope="module")
def url(workspace) -> Iterator[str]:
    with served(create_app(workspace.settings.model_copy(update={"lock_timeout_seconds": 0.2}))) as found:
        yield found


@pytest.fixture
def pim(url: str, api: Api) -> Iterator[Client]:
    with Client(url, api.key) as client, worker(api.workspace, api.tenant.id):
        yield client


def test_from_a_file_to_a_catalogue_and_back(pim: Client, tmp_path: Path) -> None:
    (tmp_path / "tents.csv").write_text(TENTS + ",No SKU,1,red,1\n")
    upload = pim.upload(tmp_path / "tents.csv", source="acme", dry_run=True)
    assert (upload["state"], upload["filename"]) == ("mapping", "tents.csv")
    pim.confirm(upload["job_id"])
    job_id = upload["job_id"]
    assert pim.wait(job_id, timeout=60)["state"] == "staged"
    assert {line["action"] for line in pim.diff(job_id, limit=2)} == {"create"}
    assert pim.diff_summary(job_id)["products"]["create"] == 6
    pim.promote(job_id)
    seen = []
    job = pim.wait(job_id, timeout=60, show=lambda one: seen.append(one["state"]))
    assert job["state"] == "done"
    assert seen[-1] == "done"
    assert job["ledger"] is not None
    assert (job["ledger"]["created"], job["ledger"]["rejected"]) == (6, 1)
    assert pim.rejects(job_id, tmp_path / "rejects.csv") == len((tmp_path / "rejects.csv").read_bytes())
    assert "No SKU" in (tmp_path / "rejects.csv").read_text()
    assert [product["sku"] for product in pim.products(limit=4)] == [f"T-{number}" for number in range(1, 7)]
    assert pim.imports(limit=1)[0]["job_id"] == job_id


def test_products_are_found_written_and_deleted(pim: Client) -> None:
    exact = Decimal("0.1000000000000000055511151231257827")
    (result,) = pim.upsert([{"sku": "A-1", "name": "Alpha", "ratio": exact}, {"sku": "A-2"}])
    assert (result["created"], result["rejected"]) == (1, 1)
    found = pim.find("a-1")
    assert found is not None
    assert found["data"]["ratio"] == exact
    assert pim.find("nobody's") is None
    assert next(pim.history(found["id"]))["action"] == "create"
    assert "ratio" in {field["name"] for field in pim.schema()["fields"]}
    done = pim.delete(skus=["A-1"])
    assert done["deleted"] == 1
    pim.undo(done["job"]["job_id"])
    assert pim.find("A-1") is not None


def test_a_webhook_and_an_export(url: str, make_api: Callable[..., Api], tmp_path: Path) -> None:
    api = make_api("admin")
    with Client(url, api.key, tenant=api.tenant.slug) as pim:
        made = pim.subscribe("https://hooks.example.com/pim", ["product.created"], description="shop")
        assert made["secret"].startswith("whsec_")
        list(pim.upsert([{"sku": "A-1", "name": "Alpha", "price": {"amount": 5, "currency": "EUR"}}]))
        (told,) = pim.deliveries(made["id"], limit=1)
        assert (told["event"], told["state"]) == ("product.created", "pending")
        pim.unsubscribe(made["id"])
        assert pim.webhooks() == []
        size = pim.export(tmp_path / "all.jsonl", format="jsonl", **{"filter[price][gte]": 5})
        assert json.loads((tmp_path / "all.jsonl").read_text())["sku"] == "A-1"
        assert size == (tmp_path / "all.jsonl").stat().st_size
        assert pim.me()["tenant"]["slug"] == api.tenant.slug


def test_a_problem_is_raised_with_the_apis_words(pim: Client) -> None:
    with pytest.raises(ApiProblem, match="There is no import job") as raised:
        pim.import_("0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11")
    assert (raised.value.code, raised.value.http_status) == ("unknown_job", 404)
    assert raised.value.request_id


def test_it_waits_for_another_writer(pim: Client, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is let go of as soon as the first try was refused."""
    refused: list[float] = []
    with ExitStack() as writer:
        session = writer.enter_context(tenant_session(api.workspace.app, api.tenant.id))
        connection = session.connection().connection.driver_connection
        lock_catalogue(connection, api.tenant.id, wait_seconds=None)

        def pause(seconds: float) -> None:
            refused.append(seconds)
            writer.close()

        monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=pause))
        (result,) = pim.upsert([{"sku": "B-1", "name": "Beta"}])
    assert result["created"] == 1
    assert refused[0] >= 1, "as long as Retry-After says"


@pytest.fixture
def command(url: str, api: Api, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `pim --api ...` as a machine that has nothing but a key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIM_")}
    environment = kept | {"PIM_API_KEY": api.key, "PIM_HOME": str(tmp_path / "home")}

    def run(*arguments: str, api_option: bool = True) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-m", "pim_platform.cli", *(["--api", url] if api_option else [])]
        return subprocess.run(
            [*start, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_the_command_line_imports_over_the_api(
    command: Callable[..., subprocess.CompletedProcess[str]], api: Api, tmp_path: Path
) -> None:
    (tmp_path / "tents.csv").write_text(TENTS + ",No SKU,1,red,1\n")
    with worker(api.workspace, api.tenant.id):
        waits = command("import", str(tmp_path / "tents.csv"), "--source", "acme")
        assert waits.returncode == 3, waits.stderr
        assert "waits for a person to confirm" in waits.stdout
        assert "Tent" not in waits.stdout
        assert "price" in waits.stderr, "the proposal is shown"
        dry = command("import", str(tmp_path / "tents.csv"), "--source", "acme", "--yes", "--dry-run", "--json")
        assert dry.returncode == 0, dry.stdout + dry.stderr
        dry_job = json.loads(dry.stdout)
        assert dry_job["ledger"]["created"] == 6
        done = command("promote", dry_job["job_id"], "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        exported = command("export", "--filter", "sku=T-2", "--fields", "name", "--format", "jsonl")
        assert exported.returncode == 0, exported.stdout + exported.stderr
        assert json.loads(exported.stdout)["name"] == "Tent for two"
    told = json.loads(done.stdout)
    assert told["state"] == "done"
    rejects = Path(told["rejects_file"])
    assert "No SKU" in rejects.read_text()
    assert api.get("/api/pim/products/", params={"sku": "T-1"}).json()["products"]
    accuracy = api.get("/api/pim/mapping/accuracy/").json()["accuracy"]
    assert sum(band["columns"] for band in accuracy) == 0, "what --yes confirmed is no evidence"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gc",), "pim gc is about the stack of this machine"),
        (("import", __file__, "--inline"), "--inline runs the import in this process"),
    ],
)
def test_what_cannot_be_done_over_the_api_is_said(command, arguments, said) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_command_for_this_machine_still_needs_its_tenant(command) -> None:
    done = command("promote", "0199b6c2-7a51-7c3e-8d0c-0f3f7a6f1c11", "--inline", api_option=False)
    assert done.returncode == 2
    assert "--tenant" in done.stderr


def test_a_refused_key_and_a_wrong_address_end_with_one_line(command, api, tmp_path) -> None:
    done = command("import", __file__, "--tenant", "somebody-else", "--yes", "--json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "This key does not belong to that tenant" in done.stderr
