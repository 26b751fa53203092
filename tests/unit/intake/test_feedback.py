"""What people decided teaches the next proposal, a correction outweighs what came before, and figures decide trust."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.intake.feedback import BANDS, Accuracy, band_end, band_of, profile_digest, wilson, with_measured_trust
from pim_platform.intake.mapping import ColumnMapping
from pim_platform.intake.mapping.learned import AGREED, DISPUTED, ONCE, SAME_SOURCE, Decision, apply_learned, learn
from pim_platform.intake.profile import ColumnProfile

HERE, THERE, ELSEWHERE = uuid4(), uuid4(), uuid4()


def decided(field: str | None, source: UUID = THERE, header: str = "art", **rules: object) -> Decision:
    told = {"source": header, "index": 0, "target": "ignore" if field is None else "attribute", "field": field, **rules}
    return Decision(header, source, ColumnMapping.model_validate(told))


def column(header: str, field: str, *, index: int = 0, **rules: object) -> ColumnMapping:
    told = {"source": header, "index": index, "field": field, "confidence": 0.8, "tier": "match", **rules}
    return ColumnMapping.model_validate(told)


def profile(index: int = 0, **facts: object) -> ColumnProfile:
    return ColumnProfile.model_validate({"index": index, "header": "x", "filled": 9, "distinct": 5, **facts})


def test_what_was_confirmed_once_elsewhere_is_proposed_with_its_reason() -> None:
    (found,) = learn([decided("material")], HERE).values()
    (made,) = apply_learned([column("Art", "art")], [profile()], {"art": found}, None)
    assert (made.field, made.tier, made.confidence) == ("material", "learned", ONCE)
    assert made.reason == "people mapped it to material once in files of another source"


def test_more_confirmations_and_the_own_source_make_it_surer() -> None:
    assert learn([decided("a"), decided("a", ELSEWHERE)], HERE)["art"].confidence == AGREED
    own = learn([decided("a"), decided("b", HERE)], HERE)["art"]
    assert (own.column.field, own.confidence) == ("b", SAME_SOURCE)


def test_a_correction_outweighs_any_number_of_earlier_confirmations() -> None:
    found = learn([*[decided("a")] * 50, decided("b")], HERE)["art"]
    assert (found.column.field, found.times) == ("b", 1)
    own = learn([*[decided("a", HERE)] * 50, decided("b", HERE)], HERE)["art"]
    assert own.column.field == "b"


def test_where_sources_differ_nobody_is_sure() -> None:
    found = learn([decided("a"), decided("b", ELSEWHERE)], HERE)["art"]
    assert found.confidence == DISPUTED
    (made,) = apply_learned([column("art", "art")], [profile()], {"art": found}, None)
    assert not made.auto
    assert "sources differ" in made.reason


def test_what_people_ignored_is_ignored() -> None:
    learned = learn([decided(None)], HERE)
    (made,) = apply_learned([column("ART ", "art")], [profile()], learned, None)
    assert made.ignored
    assert made.reason.startswith("people ignored it")


def test_rules_of_the_file_come_from_the_file_and_those_of_the_meaning_from_the_people() -> None:
    learned = learn([decided("width", type="number", decimal=",", unit="cm", on_empty="clear")], HERE)
    seen = profile(number_share=1.0, decimal=".", type="number")
    (made,) = apply_learned([column("art", "art", type="number")], [seen], learned, None)
    assert (made.field, made.decimal, made.unit, made.on_empty) == ("width", ".", None, "clear")
    same = learn([decided("width", HERE, type="number", decimal=",", unit="cm")], HERE)
    (own,) = apply_learned([column("art", "art", type="number")], [seen], same, None)
    assert (own.decimal, own.unit) == (",", "cm")


def test_cells_that_do_not_fit_are_not_sent_into_the_learned_field() -> None:
    learned = learn([decided("weight", type="number")], HERE)
    proposed = column("art", "art")
    assert apply_learned([proposed], [profile(number_share=0.0)], learned, None) == [proposed]


def test_a_learned_column_takes_its_field_and_the_one_that_had_it_waits_for_a_look() -> None:
    learned = learn([decided("price", type="price", header="vk")], HERE)
    columns = [
        column("price", "price", target="price", type="price", auto=True),
        column("vk", "vk", index=1, type="number"),
    ]
    profiles = [profile(number_share=1.0), profile(1, number_share=1.0)]
    first, second = apply_learned(columns, profiles, learned, None)
    assert second.field == "price"
    assert (first.field, first.target, first.auto) == ("price_2", "attribute", False)
    assert "people gave price to another column" in first.reason


def test_two_learned_columns_for_one_field_leave_it_to_the_surer() -> None:
    learned = learn([decided("color", header="a"), decided("color", HERE, header="b")], HERE)
    first, second = apply_learned([column("a", "a"), column("b", "b", index=1)], [profile(), profile(1)], learned, None)
    assert (second.field, second.tier) == ("color", "learned")
    assert first.field == "a"


def test_a_header_that_stands_twice_or_is_blank_learns_nothing() -> None:
    learned = learn([decided("color"), decided("size", header="")], HERE)
    columns = [column("art", "art"), column("Art", "art_2", index=1), column("", "column_3", index=2)]
    assert apply_learned(columns, [profile(n) for n in range(3)], learned, None) == columns


# --- measuring ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "band"), [(0.0, 0.0), (0.49, 0.0), (0.5, 0.5), (0.89, 0.8), (0.9, 0.9), (0.95, 0.95), (1.0, 0.95)]
)
def test_bands_hold_their_lower_end(confidence: float, band: float) -> None:
    assert band_of(confidence) == band
    assert band_end(band) > band or band_end(band) == 1.0


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilsons_interval_holds_the_share(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low - 1e-9 <= right / (right + wrong) <= high + 1e-9


def test_wilsons_interval_has_the_known_figures() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, Statistics in Medicine 17, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def claude(confidence: float = 0.85) -> ColumnMapping:
    return column("zq", "color", confidence=confidence, tier="claude")


def measured(columns: int, correct: int, tier: str = "claude", band: float = 0.8) -> list[Accuracy]:
    return [Accuracy(tier, band, columns, correct, 0, 0)]


@pytest.mark.parametrize(
    ("columns", "correct", "auto"), [(0, 0, False), (20, 20, False), (72, 72, False), (73, 73, True), (200, 194, False)]
)
def test_claude_is_sure_only_where_it_was_measured_to_be(columns: int, correct: int, auto: bool) -> None:
    (made,) = with_measured_trust([claude()], measured(columns, correct))
    assert made.auto is auto


def test_figures_of_another_band_or_tier_prove_nothing() -> None:
    (made,) = with_measured_trust([claude(0.75)], measured(500, 500))
    assert not made.auto
    (made,) = with_measured_trust([claude()], measured(500, 500, tier="alias"))
    assert not made.auto


def test_what_people_keep_correcting_is_no_longer_sure() -> None:
    sure = column("colour", "color", confidence=0.98, tier="alias", auto=True)
    assert with_measured_trust([sure], measured(20, 10, "alias", 0.95))[0].auto is False
    assert with_measured_trust([sure], measured(19, 0, "alias", 0.95))[0].auto is True, "too little to judge by"
    assert with_measured_trust([sure], measured(40, 38, "alias", 0.95))[0].auto is True


def test_the_digest_of_a_profile_is_that_of_its_kind() -> None:
    one = profile(mean_length=4.0, max_length=9, number_share=0.97, examples=["a"])
    assert profile_digest(one) == profile_digest(one.model_copy(update={"examples": ["b"], "mean_length": 5.0}))
    assert profile_digest(one) != profile_digest(one.model_copy(update={"number_share": 0.1}))
    assert len(BANDS) == len(set(BANDS))
