"""The results file keeps what was not measured again."""

from __future__ import annotations

import pytest

from benchmarks import run


def test_sections_survive_being_written_and_read() -> None:
    sections = {"merge": "today\n\n| a |", "files": "yesterday\n\n| b |"}
    assert run.read_sections(run.write_results(sections)) == sections
    assert list(run.read_sections(run.write_results(sections))) == ["files", "merge"]


def test_figures_are_the_json_lines() -> None:
    output = 'warming up\n{"what": "merge", "rows": 1000, "seconds": 0.5}\ndone\n'
    assert run.read_figures(output) == [{"what": "merge", "rows": 1000, "seconds": 0.5}]
    assert "| merge | 1,000 | 0.5 |" in run.section(run.read_figures(output), "a machine")


def test_a_figure_without_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds"):
        run.read_figures('{"what": "merge"}')
