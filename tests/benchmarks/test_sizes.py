"""The longer benchmarks at a tiny size: that each runs to its end and finds nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import uvloop

from benchmarks import growth, postgres, worst_day
from benchmarks.filled_database import fill
from benchmarks.measures import Size
from benchmarks.peers import node_red, webhook

pytestmark = [pytest.mark.soak, pytest.mark.process]


def test_a_file_grows_and_is_drawn(tmp_path: Path) -> None:
    """All stages have ratios, and the waiting deliveries are waiting."""
    stages = growth.measure(tmp_path, 400, 50, Size(ingest_s=0.05, trickled=2, burst=5), rounds=1)
    assert [stage.label for stage in stages] == ["100 events", "200 events", "400 events", "+ 50 waiting"]
    assert all(growth.ratios(stage, lambda one: one.follow_up_rate) for stage in stages)
    assert all(stage.bytes_per_event > 0 for stage in stages)
    growth.draw(stages, tmp_path)
    assert {path.name for path in tmp_path.glob("*.svg")} == {"growth-speed.svg", "growth-size.svg"}


def test_postgres_is_measured_over_its_socket_and_over_a_delay(capsys: pytest.CaptureFixture[str]) -> None:
    """One process, and where the processor's time goes."""
    postgres.measure(seconds=0.05, chains=10, rows=2_000, rounds=1, processes=(1,))
    printed = capsys.readouterr().out
    assert "Follow-ups on PostgreSQL, Unix socket" in printed
    assert "Follow-ups on PostgreSQL, 0.5 ms each way" in printed


def test_a_worst_day_loses_nothing(tmp_path: Path) -> None:
    """Every callback that was answered is kept; old events are pruned, and silent tasks reconciled, meanwhile."""
    database = fill(f"sqlite:///{tmp_path}/hookchain.db", 1_000, live_chains=50)
    day = uvloop.run(worst_day.measure(tmp_path, database, seconds=2, rate=200, pages=8))
    assert (day.sent, day.refused, day.lost, day.pressed_twice) == (400, 0, 0, 0)
    assert day.pressed == day.to_press
    assert day.pruned
    assert day.reconciled
    worst_day.show(day)


def test_peers_that_are_not_installed_are_a_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed on the way, and nothing fails."""
    monkeypatch.setitem(os.environ, "PATH", "")
    assert node_red.contender().missing == "not measured: npm is not installed"
    assert webhook.contender().missing == "not measured: the program webhook is not installed"
