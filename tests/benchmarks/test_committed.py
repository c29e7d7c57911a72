"""`make bench ARGS=--quick` fails when ingest or follow-ups lost more than a third against what is committed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import committed
from benchmarks.committed import Committed, falls, medians, ratios_of
from benchmarks.measures import Figures

BEFORE = Committed(
    date="2026-11-29", release="0.1.0", cores=2, rounds=7, ratios={"ingest": 0.45, "follow-ups": 0.015}
)


def test_what_stayed_or_grew_has_not_fallen() -> None:
    """The same, a third less, and twice as much."""
    assert falls(BEFORE, {"ingest": [0.45], "follow-ups": [0.03]}) == []
    assert falls(BEFORE, {"ingest": [0.31], "follow-ups": [0.0101]}) == []


def test_what_lost_more_than_a_third_has_fallen() -> None:
    """It is named with both figures, and with what it lost."""
    (fall,) = falls(BEFORE, {"ingest": [0.29], "follow-ups": [0.015]})
    assert fall.name == "ingest"
    assert str(fall) == "ingest fell by 36%: 0.2900 of the bare route, and 0.4500 when it was committed"


def test_a_single_bad_round_is_not_a_fall() -> None:
    """The median of the rounds is compared, since a machine can be busy for a second."""
    assert falls(BEFORE, {"ingest": [0.05, 0.44, 0.46], "follow-ups": [0.014, 0.001, 0.015]}) == []


def test_a_figure_that_was_not_committed_has_not_fallen() -> None:
    """A new figure is compared once it is committed."""
    assert falls(BEFORE, {"ingest": [0.45], "something new": [0.001]}) == []


def test_a_figure_that_was_not_measured_is_an_error() -> None:
    """Otherwise a broken benchmark would pass for ever."""
    with pytest.raises(RuntimeError, match="not measured: follow-ups"):
        falls(BEFORE, {"ingest": [0.45], "follow-ups": []})


def test_each_round_is_compared_with_the_bare_route_of_the_same_round() -> None:
    """A machine that is half as quick in the second round changes no ratio."""
    ours = [_round(4_500, 150), _round(2_250, 75)]
    bare = [_round(10_000, None), _round(5_000, None)]
    assert ratios_of(ours, bare) == {"ingest": [0.45, 0.45], "follow-ups": [0.015, 0.015]}


def test_the_committed_file_can_be_written_anew(tmp_path: Path) -> None:
    """What is written is what is read."""
    committed.write(BEFORE, tmp_path / "figures.json")
    assert committed.read(tmp_path / "figures.json") == BEFORE


def test_the_file_in_the_repository_has_both_figures() -> None:
    """And says when and from which release it is."""
    before = committed.read()
    assert before.ratios.keys() == {"ingest", "follow-ups"}
    assert medians({name: [value] for name, value in before.ratios.items()}) == before.ratios
    assert before.date
    assert before.release


def _round(ingest: float, follow_ups: float | None) -> Figures:
    return Figures(ingest_core_rate=ingest, follow_up_core_rate=follow_ups)
