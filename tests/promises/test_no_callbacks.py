"""An upstream that never calls: one that drops notifyHook, and `--poll-only`. Ends are found by asking in bulk."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.conftest import PATIENCE_S

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
WAYS = {"hook dropped": [], "poll only": ["--poll-only"]}
REAL, QUICK = "0.15", "0.6"
"""Speeds of the sandbox: an imagine of 40 s and upscales of 5 s, as in Midjourney; and one of 10 s for the tests."""

CASES = [
    pytest.param("poll only", 5, QUICK, id="poll only"),
    pytest.param("hook dropped", 25, REAL, id="hook dropped, at real speed", marks=pytest.mark.soak),
    pytest.param("poll only", 25, REAL, id="poll only, at real speed", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("way", "chains", "speed"), CASES)
def test_all_ends_are_found_soon_and_in_bulk(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path, way: str, chains: int, speed: str
) -> None:
    """With the settings that everybody has. The median is what the project promises; prints what happened."""
    sandbox = start_sandbox(
        "--speed", speed, "--concurrency", "12", "--queue", str(5 * chains), "--faults", "drop=1"
    )
    command = ["-m", "hookchain", "serve", "--port", "0", *WAYS[way]]
    server = start_server(toml=RULES, command=command, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    for number in range(chains):
        server.submit(kind="imagine", prompt=f"cat {number}")
    eventually(lambda: len(delays_s(tmp_path)) == 5 * chains, within_s=3 * PATIENCE_S)
    delays, asked = delays_s(tmp_path), sandbox.ledger()["questions"]
    print(
        f"\n{way}: {len(delays)} tasks; their ends were found after {median(delays):.1f} s in the median, "
        f"{sorted(delays)[int(0.95 * len(delays))]:.1f} s at 95 %, {max(delays):.1f} s at most; asked: {asked}"
    )
    assert median(delays) <= 15
    # At the first start: what was there before is history, and nothing there is of a later copy of this database.
    assert asked.pop("task/list") == 2
    assert set(asked) <= {"task/list-by-condition", "task/{id}/fetch"}  # one that is due alone is fetched
    assert sum(asked.values()) < len(delays)
    assert set(found_by(tmp_path)) == {"reconcile"}
    assert len(sandbox.accepted("/action")) == 4 * chains
    submits = sandbox.accepted("/imagine") + sandbox.accepted("/action")
    assert {bool(body.get("notifyHook")) for body in submits} == {way == "hook dropped"}
    assert sandbox.ledger()["callbacks"] == 0


ENDS = "FROM events WHERE signal = 'task.succeeded'"


def delays_s(directory: Path) -> list[float]:
    """Seconds from each task's end, as the upstream tells it, to the moment we knew; both clocks are this machine's."""
    with closing(sqlite3.connect(directory / "hookchain.db", timeout=PATIENCE_S)) as database:
        rows = database.execute(f"SELECT received_at_ms, payload {ENDS}").fetchall()
    return [(at_ms - json.loads(payload)["finishTime"]) / 1000 for at_ms, payload in rows]


def found_by(directory: Path) -> list[str]:
    """Where each end was heard."""
    with closing(sqlite3.connect(directory / "hookchain.db", timeout=PATIENCE_S)) as database:
        return [source for (source,) in database.execute(f"SELECT DISTINCT source {ENDS}")]
