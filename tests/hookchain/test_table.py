"""Lists on a terminal and in a pipe: columns that fit, one line a row, and nothing lost that a program reads."""

from __future__ import annotations

import io
import sys

import pytest

from hookchain.cli.table import cells, cut, lines_of, padded, say_rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ROWS = [["1", "猫 and 狗", "a cat"], ["22", "plain", "a\ncat\t\x1b[2J"], ["333", "👩\u200d👧 x", "猫" * 50]]


def printed(monkeypatch: pytest.MonkeyPatch, out: io.StringIO, columns: int, *, cuts_last: bool) -> list[str]:
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    say_rows(ROWS, cuts_last=cuts_last)
    return out.getvalue().splitlines()


def test_on_a_terminal_the_columns_stand_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their characters' widths; and no line is wider than the terminal."""
    lines = printed(monkeypatch, Terminal(), 40, cuts_last=True)
    assert lines[:2] == ["1    猫 and 狗  a cat", r"22   plain      a\ncat\t\x1b[2J"]
    assert (lines[2].endswith("猫…"), len(lines)) == (True, 3)
    starts = [
        cells(line[: line.index(last)]) for line, last in zip(lines, ("a cat", "a\\n", "猫猫"), strict=True)
    ]
    assert len(set(starts)) == 1
    assert max(map(cells, lines)) <= 40


def test_a_reason_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal wraps it."""
    assert printed(monkeypatch, Terminal(), 40, cuts_last=False)[2].endswith("猫" * 50)


def test_in_a_pipe_values_are_whole_with_tabs_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a row, as `cut` and `awk` read them."""
    lines = printed(monkeypatch, io.StringIO(), 40, cuts_last=True)
    assert [line.split("\t") for line in lines] == [ROWS[0], ["22", "plain", r"a\ncat\t\x1b[2J"], ROWS[2]]


def test_no_rows_are_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is an error."""
    for out in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", out)
        say_rows([])
        assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("cat", 3, "cat"),
        ("cats", 3, "ca…"),
        ("猫猫", 4, "猫猫"),
        ("猫猫猫", 4, "猫…"),
        ("猫猫猫", 5, "猫猫…"),
    ],
)
def test_a_text_is_cut_between_characters(text: str, most: int, shown: str) -> None:
    """A wide character that does not fit whole is left out."""
    assert cut(text, most) == shown
    assert cells(padded(shown, 9)) == 9


def test_rows_of_one_value_and_a_narrow_terminal() -> None:
    """Ten cells of the last column always stay."""
    assert lines_of([["only"]], 80) == ["only"]
    assert lines_of([["a" * 30, "b" * 30]], 20) == ["a" * 30 + "  " + "b" * 9 + "…"]
