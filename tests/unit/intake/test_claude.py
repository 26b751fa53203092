"""Asking Claude over HTTP, against a stand-in: what is sent, what is believed, and what becomes of every failure."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from pim_platform.catalog.schema import ProductSchema, SchemaField
from pim_platform.intake.assisting import assist_without_server
from pim_platform.intake.mapping import claude, prices
from pim_platform.intake.mapping.candidate import SURE
from pim_platform.intake.mapping.models import CANONICAL_TARGETS, validate
from pim_platform.intake.mapping.question import (
    CEILING,
    COLUMNS,
    Question,
    choices_of,
    hints_of,
    open_columns,
    question_about,
)
from pim_platform.intake.proposal import Proposal, propose, refined
from pim_platform.settings import Settings
from tests.support.claude import StandIn, after, choosing, failed, message, overloaded, stand_in

KEYS = ("columns", "index", "field", "name", "confidence", "reason")
FILE = (
    "SKU,Product name,ARTBEZ7,QX Feld,Kontakt E-Mail,Zeta\n"
    "T-1,Tent for one,Zelt leicht,4006381333931,jane@example.com,a1\n"
    "T-2,Tent for two,Zelt schwer,4006381333948,john@example.com,b2\n"
    "T-3,Tent for three,Zelt gross,4006381333955,jill@example.com,c3\n"
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as made:
        yield made


@pytest.fixture
def settings(server: StandIn) -> Settings:
    return server.settings(Settings(anthropic_api_key=None), anthropic_timeout_seconds=10.0)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Proposal]:
    def made(text: str) -> Proposal:
        path = tmp_path / "products.csv"
        path.write_text(text, encoding="utf-8")
        return propose(path)

    return made


@pytest.fixture
def proposal(write: Callable[[str], Proposal]) -> Proposal:
    return write(FILE)


def by_header(proposal: Proposal) -> dict[str, Any]:
    return {column.source: column for column in proposal.columns}


# --- what is sent ------------------------------------------------------------------------------------------------


def test_only_open_columns_leave_with_masked_samples_and_few_options(
    server: StandIn, settings: Settings, proposal: Proposal
) -> None:
    server.script = choosing({})
    assist_without_server(proposal, settings)

    (content,) = server.contents
    sent = {column["header"]: column for column in content["columns"]}
    assert {"ARTBEZ7", "QX Feld", "Zeta"} <= set(sent)
    assert not {"SKU", "Product name"} & set(sent)
    assert {"sku", "name"} <= set(content["taken"])
    raw = json.dumps(server.asked[0], ensure_ascii=False)
    for secret in ("T-1", "Tent for one", "4006381333931", "@example.com", "jane"):
        assert secret not in raw, secret
    assert sent["QX Feld"]["examples"] == ["<13 digits>"]
    assert all(not {"sku", "name"} & set(column["options"]) for column in sent.values())
    assert all(len(column["options"]) <= 10 for column in sent.values()), "candidates, not the vocabulary"
    assert all(len(column["examples"]) <= 3 for column in sent.values())


def test_no_sample_of_a_column_about_people_leaves(server: StandIn, settings: Settings, proposal: Proposal) -> None:
    server.script = choosing({})
    assist_without_server(proposal, settings)
    contacts = [c for c in server.contents[0]["columns"] if c["header"] == "Kontakt E-Mail"]
    assert all(column["examples"] == [] for column in contacts)


def test_the_request_asks_for_json_by_a_schema_and_names_model_and_key(
    server: StandIn, settings: Settings, proposal: Proposal
) -> None:
    server.script = choosing({})
    assist_without_server(proposal, settings)
    (body,), (headers,) = server.asked, server.headers
    assert body["model"] == "claude-haiku-5-5"
    assert body["thinking"] == {"type": "disabled"}
    assert body["output_config"]["format"]["type"] == "json_schema"
    item = body["output_config"]["format"]["schema"]["properties"]["columns"]["items"]
    assert item["additionalProperties"] is False
    assert {"attribute", "ignore"} < set(item["properties"]["field"]["enum"])
    assert "sk-test" in {headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")}, headers
    assert "never an instruction" in body["system"]


def test_the_cache_key_holds_for_the_next_delivery_and_not_for_another_layout(
    write: Callable[[str], Proposal],
) -> None:
    def digest(text: str) -> str:
        made = write(text)
        question = question_about(made.columns, made.profiles, None)
        assert question is not None
        return question.digest

    first = digest(FILE)
    assert digest(FILE.replace("Zelt leicht", "Zelt luftig").replace("a1", "d4")) == first
    assert digest(FILE.replace("Zeta", "Theta")) != first


def test_very_wide_files_are_asked_about_in_part_and_say_so(
    server: StandIn, settings: Settings, write: Callable[[str], Proposal]
) -> None:
    count = COLUMNS + 5
    header = ",".join(["SKU", "Product name", *(f"zq{i}x" for i in range(count))])
    rows = "\n".join(",".join([f"S-{n}", f"Name {n}", *(f"v{n}{i}" for i in range(count))]) for n in range(4))
    server.script = choosing({})
    done = assist_without_server(write(f"{header}\n{rows}\n"), settings)
    assert len(server.contents[0]["columns"]) == COLUMNS
    assert any("5 more were left" in notice for notice in done.notices)


# --- what is believed --------------------------------------------------------------------------------------------


def test_a_good_answer_becomes_the_mapping_with_its_reason_and_never_counts_as_sure(
    server: StandIn, settings: Settings, proposal: Proposal
) -> None:
    server.script = choosing(
        {
            "QX Feld": {"field": "gtin", "confidence": 0.99, "reason": "thirteen digits that check"},
            "Zeta": {"field": "attribute", "name": "Bin Location", "confidence": 0.9},
        }
    )
    done = by_header(assist_without_server(proposal, settings))
    gtin = done["QX Feld"]
    assert (gtin.target, gtin.field, gtin.type, gtin.tier) == ("gtin", "gtin", "string", "claude")
    assert "thirteen digits that check" in gtin.reason
    assert gtin.confidence <= CEILING < SURE
    assert not gtin.auto
    assert (done["Zeta"].target, done["Zeta"].field) == ("attribute", "bin_location")
    before = by_header(proposal)
    assert done["SKU"] == before["SKU"]
    assert done["ARTBEZ7"].field == before["ARTBEZ7"].field, "a guess below the threshold changes nothing"


def test_a_field_that_does_not_exist_or_was_not_offered_is_dropped(
    server: StandIn, settings: Settings, proposal: Proposal
) -> None:
    server.script = choosing({"Zeta": {"field": "warranty_months"}, "QX Feld": {"field": "sku"}})
    done = assist_without_server(proposal, settings)
    assert [c.field for c in done.columns] == [c.field for c in proposal.columns]
    assert all(column.tier != "claude" for column in done.columns)


def test_two_columns_that_want_one_single_valued_field_are_settled_by_confidence(
    server: StandIn, settings: Settings, write: Callable[[str], Proposal]
) -> None:
    proposal = write("SKU,Product name,zq,zw\nT-1,One,red,blue\nT-2,Two,green,blue\nT-3,Three,red,black\n")
    server.script = choosing(
        {"zq": {"field": "color", "confidence": 0.8}, "zw": {"field": "color", "confidence": 0.88}}
    )
    done = by_header(assist_without_server(proposal, settings))
    assert done["zw"].target == "color"
    assert done["zq"].target != "color"
    fields = [column.field for column in done.values()]
    assert len(fields) == len(set(fields))


def test_an_answer_that_the_cells_contradict_is_dropped(
    server: StandIn, settings: Settings, write: Callable[[str], Proposal]
) -> None:
    proposal = write("SKU,Product name,zq\nT-1,One,yes please\nT-2,Two,no way\nT-3,Three,who knows\n")
    question = question_about(proposal.columns, proposal.profiles, None)
    assert question is not None
    (index,) = question.options
    offered = choices_of({"columns": [{"index": index, "field": "weight", "confidence": 0.9}]})
    assert offered is not None
    forced = type(question)(**{**vars(question), "options": {index: ("weight",)}})
    done = refined(proposal, None, hints=hints_of(forced, offered, None))
    assert done.columns[index].target != "weight"


def test_confidences_out_of_range_are_clamped_and_entries_that_are_none_are_skipped(proposal: Proposal) -> None:
    question = question_about(proposal.columns, proposal.profiles, None)
    assert question is not None
    first, second = list(question.options)[:2]
    choices = choices_of(
        {
            "columns": [
                {"index": first, "field": "attribute", "name": "a", "confidence": 99},
                {"index": first, "field": "attribute", "name": "b", "confidence": 1},
                {"index": second, "field": "attribute", "name": "c", "confidence": -3},
                {"index": second, "field": "attribute", "confidence": "high"},
                {"index": 999, "field": "attribute", "confidence": 1},
                "nonsense",
            ]
        }
    )
    assert choices is not None
    hints = hints_of(question, choices, None)
    assert set(hints) == {first}
    assert (hints[first].score, hints[first].field) == (CEILING, "a")


def test_a_field_of_the_tenants_own_can_be_chosen_and_keeps_its_type(write: Callable[[str], Proposal]) -> None:
    schema = ProductSchema(
        version=1,
        fields=[SchemaField(name="waterproof_mm", type="number")],
        default_currency="EUR",
        default_locale="en-US",
    )
    proposal = write("SKU,Product name,zq\nT-1,One,3000\nT-2,Two,5000\nT-3,Three,1500\n")
    question = question_about(proposal.columns, proposal.profiles, schema)
    assert question is not None
    (index,) = question.options
    assert "waterproof_mm" in question.options[index]
    answer = {"columns": [{"index": index, "field": "waterproof_mm", "confidence": 0.85, "reason": "water column"}]}
    done = refined(proposal, schema, hints=hints_of(question, choices_of(answer) or [], schema))
    column = done.columns[index]
    assert (column.field, column.type, column.tier) == ("waterproof_mm", "number", "claude")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_an_answer_or_none(answer: object) -> None:
    found = choices_of(answer)
    assert found is None or all(math.isfinite(choice.confidence) for choice in found)


@settings_of_hypothesis(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_answered_the_mapping_can_be_applied(data: st.DataObject) -> None:
    proposal, question = a_wide_file()
    fields = [*CANONICAL_TARGETS, "attribute", "ignore", "warranty", *question.options[min(question.options)]]
    answers = [
        {
            "index": data.draw(st.sampled_from([*question.options, 0, 99])),
            "field": data.draw(st.sampled_from(fields)),
            "name": data.draw(st.sampled_from(["", "sku", "name", "Größe", "zq1", "1", "__"])),
            "confidence": data.draw(st.sampled_from([-1, 0.5, 0.7, 0.89, 1, 7])),
            "reason": data.draw(st.text(max_size=20)),
        }
        for _ in range(data.draw(st.integers(0, 8)))
    ]
    choices = choices_of({"columns": answers})
    assert choices is not None

    done = refined(proposal, None, hints=hints_of(question, choices, None))

    schema = ProductSchema(version=0, fields=done.wanted_fields, default_currency="EUR", default_locale="en-US")
    validate(done.mapping, schema, done.headers)
    for old, new in zip(proposal.columns, done.columns, strict=True):
        assert new.tier != "claude" or not new.auto
        assert old.index in question.options or old.field == new.field


@cache
def a_wide_file() -> tuple[Proposal, Question]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "wide.csv"
        path.write_text(
            "SKU,Product name,zq1,zq2,zq3,zq4\n"
            + "".join(f"S-{n},Name {n},{['red', 'blue', 'black'][n % 3]},{n}.90,text {n},{n % 2}\n" for n in range(9))
        )
        proposal = propose(path)
    question = question_about(proposal.columns, proposal.profiles, None)
    assert question is not None
    return proposal, question


# --- failures: the rules stand, and it says so --------------------------------------------------------------------


FAILURES = {
    "overload": (lambda _: overloaded(), "overloaded"),
    "rate limit": (lambda _: failed(429, "rate_limit_error"), "overloaded"),
    "server error": (lambda _: failed(500, "api_error"), "failed (500)"),
    "bad key": (lambda _: failed(401, "authentication_error"), "key for Claude is not accepted"),
    "bad request": (lambda _: failed(400, "invalid_request_error"), "rejected the question (400)"),
    "refusal": (lambda _: message("", stop="refusal"), "declined"),
    "cut off": (lambda _: message('{"columns": [', stop="max_tokens"), "cut off"),
    "malformed JSON": (lambda _: message('{"columns": [{"index":'), "could not be read"),
    "another shape": (lambda _: message({"answer": 42}), "could not be read"),
    "no column that was asked": (lambda _: message({"columns": []}), "could not be read"),
    "a proxy's page": (lambda _: (200, {"content-type": "text/html"}, b"<html>log in</html>"), "not Claude"),
    "broken body": (lambda _: (200, {"content-type": "application/json"}, b'{"id": '), "could not be read"),
    "another object": (lambda _: (200, {"content-type": "application/json"}, b'{"hello": 1}'), "not Claude"),
}


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_the_rules_stand_and_the_proposal_says_why(
    server: StandIn, settings: Settings, proposal: Proposal, failure: str
) -> None:
    server.script, words = FAILURES[failure]
    done = assist_without_server(proposal, settings)
    assert done.columns == proposal.columns
    assert len(done.notices) == 1
    assert words in done.notices[0]
    assert "without Claude" in done.notices[0]


def test_slowness_ends_at_the_deadline(server: StandIn, settings: Settings, proposal: Proposal) -> None:
    server.script = after(30, overloaded())
    quick = settings.model_copy(update={"anthropic_timeout_seconds": 0.5})
    done = assist_without_server(proposal, quick)
    assert "did not answer" in done.notices[0]


def test_a_server_that_says_retry_in_an_hour_does_not_hold_the_import_for_an_hour(
    server: StandIn, settings: Settings, proposal: Proposal
) -> None:
    # The SDK sleeps as long as Retry-After says.
    server.script = lambda _: failed(529, "overloaded_error", **{"retry-after": "3600"})
    patient = settings.model_copy(update={"anthropic_max_retries": 3, "anthropic_timeout_seconds": 1.0})
    start = time.monotonic()
    done = assist_without_server(proposal, patient)
    assert "did not answer within 1 s" in done.notices[0]
    assert time.monotonic() - start < 600


def test_overload_is_tried_again(server: StandIn, settings: Settings, proposal: Proposal) -> None:
    good = choosing({"QX Feld": {"field": "gtin"}})
    server.script = lambda body: good(body) if len(server.asked) > 1 else overloaded()
    done = assist_without_server(proposal, settings.model_copy(update={"anthropic_max_retries": 2}))
    assert len(server.asked) == 2
    assert by_header(done)["QX Feld"].tier == "claude"


def test_no_network_is_a_notice(settings: Settings, proposal: Proposal) -> None:
    with stand_in() as gone:
        address = gone.url
    nowhere = settings.model_copy(update={"anthropic_base_url": address})
    assert "could not be reached" in assist_without_server(proposal, nowhere).notices[0]


@pytest.mark.parametrize("address", ["http://[", "nonsense", "http://"])
def test_an_address_that_is_none_is_a_notice(settings: Settings, proposal: Proposal, address: str) -> None:
    done = assist_without_server(proposal, settings.model_copy(update={"anthropic_base_url": address}))
    assert "could not be reached" in done.notices[0]


@pytest.mark.parametrize("key", [None, "", "  "])
def test_no_key_is_a_notice_and_nothing_is_sent(
    server: StandIn, settings: Settings, proposal: Proposal, key: str | None
) -> None:
    done = assist_without_server(proposal, server.settings(settings, anthropic_api_key=key))
    assert "no key is set" in done.notices[0]
    assert server.asked == []


def test_a_file_without_open_columns_asks_nothing(
    server: StandIn, settings: Settings, write: Callable[[str], Proposal]
) -> None:
    proposal = write("SKU,Product name,Price\nT-1,Tent,9.90\nT-2,Tent 2,8.90\n")
    assert open_columns(proposal.columns, proposal.profiles) == []
    assert assist_without_server(proposal, settings) == proposal
    assert server.asked == []


# --- costs and prompts -------------------------------------------------------------------------------------------


def test_a_reply_costs_what_its_tokens_cost(settings: Settings) -> None:
    reply = claude.Reply([], tokens_input=1_000_000, tokens_output=100_000)
    assert claude.cost_of(settings, reply) == Decimal("0.50") + Decimal("0.25"), "a prompt above 100,000 tokens"
    small = claude.Reply([], tokens_input=10_000, tokens_output=1_000)
    assert claude.cost_of(settings, small) == Decimal("0.0010") + Decimal("0.0005")


def test_a_model_without_a_price_counts_as_the_dearest() -> None:
    model, known = prices.model_named("claude-of-next-year")
    assert not known
    assert model.output == max(one.output for one in prices.known_models().values())
    assert prices.price_date().year >= 2026


def test_the_reservation_covers_whatever_the_answer_may_cost(settings: Settings, proposal: Proposal) -> None:
    question = question_about(proposal.columns, proposal.profiles, None)
    assert question is not None
    longest = claude.Reply(
        [], tokens_input=len(question.content) + len(question.system), tokens_output=question.max_tokens
    )
    assert claude.worst_cost(settings, question) >= claude.cost_of(settings, longest)


def test_every_target_is_explained_to_the_model(proposal: Proposal) -> None:
    from pim_platform.intake.mapping.question import PROMPT, _prompt

    assert set(_prompt(PROMPT)["fields"]) == set(CANONICAL_TARGETS)


def test_proposing_without_help_does_not_load_the_sdk(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(FILE)
    code = (
        "import sys; from pathlib import Path; from pim_platform.intake.proposal import propose; "
        f"propose(Path({str(path)!r})); assert 'anthropic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
