"""Whole layouts of shop systems, feeds and suppliers: what is understood of them does not get less."""

from __future__ import annotations

import pytest

from benchmarks.mapping import LAYOUTS, Score, layouts, score_layouts


@pytest.mark.parametrize("half", ["tuning", "held_out"])
def test_layouts_are_understood(half: str) -> None:
    total = Score()
    for score in score_layouts(LAYOUTS / f"{half}.txt").values():
        total.merge(score)
    figures = total.figures()
    assert total.total > 450
    assert figures["core_f1"] >= 0.95
    assert figures["accuracy"] >= 0.94
    assert figures["types"] >= 0.95
    assert figures["auto_precision"] >= 0.99
    assert figures["auto_share"] >= 0.5


def test_a_wrong_answer_counts_against_the_score() -> None:
    name, labels, _ = next(layouts(LAYOUTS / "tuning.txt"))
    score = Score()
    for label in labels:
        score.add(name, label, None)
    assert score.figures()["core_f1"] == 0
    assert score.figures()["accuracy"] == 0
