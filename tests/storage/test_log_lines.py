"""What a sender does in any number makes few lines of the log, and the rest are counted."""

from __future__ import annotations

import pytest

from midjourney.decode import decode_task
from storage import log_lines
from storage.tasks.oddities import Oddities

ODD = b'{"id":"t%d","status":"SUCCESS","progress":"100%%","buttons":"%d unreadable"}'


def test_a_thousand_odd_tasks_are_twenty_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line of the next minute says how many were left out."""
    oddities = Oddities()
    for number in range(1000):
        oddities.look_at("main", decode_task(ODD % (number, number)))
    assert capsys.readouterr().out.count("odd task") == log_lines.MOST_LINES
    monkeypatch.setattr(log_lines, "WITHIN_S", 0.0)
    oddities.look_at("main", decode_task(ODD % (1000, 1000)))
    assert "lines_left_out=980" in capsys.readouterr().out
