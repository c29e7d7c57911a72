"""What the log says of refused requests: little, however many there are."""

from __future__ import annotations

from typing import get_args

import pytest

from hooks.http.tally import CURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Refused, Shed, Tally


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "what_to_do=" in line]


def test_a_flood_writes_a_line_and_then_ever_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand a second for a day: the first at once, the next after a minute, in the end one an hour; the counts add up."""
    tally, counts = Tally(), []
    for second in range(86_400):
        for _ in range(3):
            tally.count_refused("invalid", "Invalid HTTP request: \x1b[2Jx" + "y" * 1000)
        tally.write_log(float(second))
    for line in lines(capsys):
        assert len(line) < 1000
        counts.append(int(line.split("count=")[1].split()[0]))
    assert counts[:4] == [3, 3 * FIRST_PAUSE_S, 6 * FIRST_PAUSE_S, 12 * FIRST_PAUSE_S]
    assert counts[-1] == 3 * LONGEST_PAUSE_S
    assert len(counts) < 24 + 8
    assert tally.refused["invalid"] == 3 * 86_400


def test_after_a_quiet_hour_a_line_comes_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """And the pauses are short again."""
    tally = Tally()
    for second in (0.0, FIRST_PAUSE_S, 3 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S + LONGEST_PAUSE_S):
        tally.count_shed("too_many", 1)
        tally.write_log(second)
        tally.count_shed("too_many", 1)
        tally.write_log(second + 1)
    assert len(lines(capsys)) == 4


def test_each_reason_has_a_cure() -> None:
    assert set(CURES) == {*get_args(Shed), *get_args(Refused)}
