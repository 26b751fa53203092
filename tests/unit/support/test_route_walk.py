"""The walk finds a value wherever an answer may hide it, and a route wherever the application may hold it."""

from __future__ import annotations

import gzip
import io
from typing import Any

import httpx
import polars as pl
import pytest
from fastapi import APIRouter, FastAPI

from tests.support.route_walk import Case, call, filled, readable, routes, said, still

FRAME = pl.DataFrame({"sku": ["A"], "name": ["zzsecret"]})


def _workbook() -> bytes:
    out = io.BytesIO()
    FRAME.write_excel(out)
    return out.getvalue()


def _parquet() -> bytes:
    out = io.BytesIO()
    FRAME.write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize("content", [b"zzsecret", gzip.compress(b"zzsecret"), _workbook(), _parquet()])
def test_values_are_found_in_packed_answers(content: bytes) -> None:
    assert "zzsecret" in readable(httpx.Response(200, content=content))


def test_routes_are_found_wherever_they_are() -> None:
    app = FastAPI()
    inner, hidden = APIRouter(), APIRouter(include_in_schema=False)
    inner.get("/inner/{thing_id}/")(lambda: None)
    hidden.post("/hidden/", openapi_extra={"x-role": "admin"})(lambda: None)
    inner.websocket("/socket/{thing_id}")(lambda: None)
    hidden.include_router(inner, prefix="/deep")
    app.include_router(hidden)
    found = routes(app)
    assert {("GET", "/deep/inner/{thing_id}/"), ("POST", "/hidden/"), ("WS", "/deep/socket/{thing_id}")} <= set(found)
    assert found["POST", "/hidden/"] == {"x-role": "admin"}


def test_ids_are_filled_in_wherever_they_are_named() -> None:
    ids = {"job_id": "J", "undo_id": "U"}
    assert filled({"json": {"ids": ["{job_id}", 3], "{job_id}": "{other}"}}, ids) == {
        "json": {"ids": ["J", 3], "J": "{other}"}
    }
    case = Case(404, lambda: {"json": {"job": "{job_id}"}}, job="undo_id")
    assert "'job': 'U'" in said(("POST", "/x/{job_id}/"), case, ids)


def test_what_moves_by_itself_is_left_out_of_comparisons() -> None:
    first: Any = '{"keys": [{"id": 1, "last_used_at": "10:00"}], "count": 2}'
    assert still(first) == still(first.replace("10:00", "11:00"))
    assert still(first) != still(first.replace("2}", "3}")), "a count is compared"
    assert still(first, ["count"]) == still(first.replace("2}", "3}"), ["count"])


def test_a_call_tells_status_body_and_headers() -> None:
    from fastapi.testclient import TestClient

    app = FastAPI()

    @app.get("/x/{job_id}/")
    def x(job_id: str) -> dict[str, str]:
        return {"job": job_id}

    answer = call(TestClient(app), ("GET", "/x/{job_id}/"), Case(200), {"job_id": "J"}, {})
    assert (answer.status, answer.text) == (200, '{"job":"J"}')
    assert "application/json" in answer.headers
