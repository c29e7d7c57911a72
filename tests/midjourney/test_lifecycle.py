"""A task's state moves forward only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midjourney.lifecycle import Change, Position, advance
from midjourney.types import TERMINAL, Status

positions = st.builds(Position, st.sampled_from([*Status, "PAUSED", "Dreaming"]), st.integers(-1, 100))
ENDS = {Change.SUCCEEDED, Change.FAILED, Change.CANCELLED}


def run(updates: list[Position]) -> list[Change]:
    known: Position | None = None
    changes = []
    for update in updates:
        if moved := advance(known, update):
            known, change = moved
            changes.append(change)
    return changes


def test_the_usual_way() -> None:
    """SUBMITTED, IN_PROGRESS 0 % three times (novicezk does), 46 %, SUCCESS."""
    steps = [("SUBMITTED", -1), ("IN_PROGRESS", 0), ("IN_PROGRESS", 0), ("IN_PROGRESS", 46), ("SUCCESS", 100)]
    assert run([Position(*step) for step in steps]) == [
        Change.SUBMITTED,
        Change.STARTED,
        Change.PROGRESSED,
        Change.SUCCEEDED,
    ]


def test_what_comes_after_the_end_is_stale() -> None:
    """Progress after SUCCESS, SUCCESS again, FAILURE after SUCCESS."""
    late = [
        Position("SUCCESS", 100),
        Position("IN_PROGRESS", 93),
        Position("SUCCESS", 100),
        Position("FAILURE"),
    ]
    assert run(late) == [Change.SUCCEEDED]


def test_a_modal_is_told_once_and_then_goes_on() -> None:
    """The same id runs after its window was answered (Plus, trueai)."""
    steps = [
        Position("MODAL"),
        Position("MODAL"),
        Position("SUBMITTED"),
        Position("MODAL"),
        Position("SUCCESS"),
    ]
    assert run(steps) == [Change.MODAL, Change.SUBMITTED, Change.SUCCEEDED]


@given(st.lists(positions, max_size=12))
def test_in_any_order_a_task_ends_at_most_once(updates: list[Position]) -> None:
    """Whatever arrives, in whatever order and number: one end, and nothing after it."""
    changes = run(updates)
    ended = [change for change in changes if change in ENDS]
    assert len(ended) == any(update.status in TERMINAL for update in updates)
    assert not ended or changes[-1] in ENDS


@given(st.lists(positions, max_size=8), st.randoms())
def test_repeating_every_update_changes_nothing_more(updates: list[Position], random: object) -> None:
    """Each callback three times in a row gives the same changes as once."""
    assert run([update for update in updates for _ in range(3)]) == run(updates)
