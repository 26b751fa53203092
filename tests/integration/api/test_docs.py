"""docs/api/pim.md is true: it names every route and no other, every role's routes, and codes that exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from pim_platform.api.app import create_app
from tests.support.imports import run_job
from tests.support.served import served
from tests.support.worker import worker

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "docs" / "api" / "pim.md").read_text()


def test_the_reference_names_every_route_and_no_other(app, text):
    told = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`", text))
    known = {(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods}
    assert told == known


def test_the_reference_names_codes_that_exist(text):
    table = text.partition("| status | `code` | when |")[2].partition("\n\n")[0]
    codes = {code for line in table.splitlines()[2:] for code in re.findall(r"`([a-z_]+)`", line.split("|")[2])}
    source = "".join(path.read_text() for path in (ROOT / "pim_platform").rglob("*.py"))
    assert len(codes) > 20
    assert {code for code in codes if f'"{code}"' not in source} == set()


PRODUCTS = (
    "SKU,Product Name,Price,Brand,Tags,Pieces\n"
    "T-1,Tent for one,199.90,Acme,light|summer,1\nT-2,Tent for two,299.90,Acme,summer,2\n,Nobody's,1,Acme,,1\n"
)
#: What a command of the reference may be answered beside success: the state is not always the one that it is for, and
#: the hosts of the examples are nobody's.
EXCUSED = {
    "host_not_allowed", "address_refused", "remote_unavailable", "already_confirmed", "not_done", "source_exists",
    "sku_exists", "wrong_login", "too_many_guesses",
}  # fmt: skip
#: Each block is about a job, a product and a version of it; the function tells what became of every request.
PRELUDE = """
curl() { printf '\\n=== %s\\n' "$*"; command curl -sS --max-time 120 "$@" -w '\\n--- %{http_code}\\n'; }
"""


def test_every_command_of_the_reference_is_one_that_the_api_takes(workspace, make_api, text, tmp_path):
    api = make_api("admin")
    (tmp_path / "products.csv").write_text(PRODUCTS)
    job_id = api.upload(PRODUCTS, source="acme", dry_run="true").json()["job_id"]
    for step in ("confirm", "promote"):
        assert api.post(f"/api/pim/import/{job_id}/{step}/").status_code == 202
        run_job(workspace, api.tenant.id, UUID(job_id))
    fields = {"sku": "T-2", "weight_kg": 2.4, "colour": "red", "pieces": "2"}
    assert api.post("/api/pim/products/bulk/", json={"products": [fields]}).json()["updated"] == 1
    product = api.get("/api/pim/products/", params={"sku": "T-1"}).json()["products"][0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    commands = [block for block in blocks if "PIM=" not in block]
    assert len(commands) > 15
    with served(create_app(workspace.settings)) as url, worker(workspace, api.tenant.id):
        tag = api.get(f"/api/pim/products/{product['id']}/").headers["etag"]
        given = {"PIM": url, "PIM_KEY": api.key, "JOB": job_id, "ID": product["id"], "ETAG": tag}
        assert set(re.findall(r"\$(\w+)", "".join(commands))) <= given.keys(), "a variable that this test does not know"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIM_", "PYTEST_"))}
        script = ["bash", "-c", PRELUDE + "\n".join(commands)]
        done = subprocess.run(
            script, cwd=tmp_path, env=kept | given, capture_output=True, text=True, timeout=250, check=False
        )
    answers = re.findall(r"^=== (.*?)^--- (\d+)$", done.stdout, re.DOTALL | re.MULTILINE)
    assert len(answers) == sum(len(re.findall(r"^curl ", block, re.MULTILINE)) for block in commands), done.stderr
    wrong = []
    for told, status in answers:
        code = (re.findall(r'"code": ?"(\w+)"', told) or [""])[-1]
        if not (status.startswith("2") or code in EXCUSED):
            wrong.append(f"{status} {told[:1500]}")
    assert not wrong, "\n\n".join(wrong)
    assert (tmp_path / "rejects-products.csv").exists()
