"""Somebody sets the machine's clock. Whatever was to be done is done when it should, and nothing stops or is lost for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.loops.prune import LAST_PASS
from storage import settings
from storage.engine import write_engine
from storage.schema import SCHEMA
from tests.support.stepping import MachineClock
from tests.support.witness import is_quiet

HOUR_S, DAY_S = 3600, 86_400
RULES = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""
LATER = """
[[rules]]
name = "vary-in-three-days"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "V1"
after = 259200
"""
THREE_DAYS_S = 3 * DAY_S
SLACK_S = 120.0
"""What a slow machine may take between two looks; the clock is moved by far more."""
UPSTREAM = """
[upstreams.main]
url = "{url}"
rate = 10
look_after_s = 0.5
quiet_s = 1.0
settle_after_s = 1.0
"""

Start = Callable[..., Any]


@pytest.fixture
def machine(tmp_path: Path) -> MachineClock:
    """A machine whose clock can be set."""
    return MachineClock(tmp_path / "clock")


@pytest.fixture
def start(start_server: Any, start_sandbox: Any, database_url: str) -> Start:
    """Start a server on that machine, at a sandbox that goes by the true time."""
    sandbox = start_sandbox("--speed", "50", "--seed", "7")

    def start(machine: MachineClock, rules: str = RULES, more: str = "", **environment: str) -> Any:
        server = start_server(
            toml=UPSTREAM.format(url=sandbox.url) + rules + more,
            **{"DATABASE_URL": database_url} | machine.environment | environment,
        )
        server.sandbox = sandbox
        return server

    return start


def upscaled(server: Any, chains: int) -> bool:
    """Whether so many chains have all they were to have, and no more."""
    accepted = server.get("/api/submissions?state=accepted&limit=200")["submissions"]
    return len(accepted) == 5 * chains and is_quiet(server)


def times(url: str, question: str) -> list[int]:
    """One column, asked for beside the server."""
    engine = write_engine(url)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
            return [row[0] for row in connection.exec_driver_sql(question)]
    finally:
        engine.dispose()


def waiting_presses(server: Any) -> int:
    """How many presses wait for their day."""
    waiting = server.get("/api/submissions?state=waiting")["submissions"]
    return sum(one["label"] == "V1" for one in waiting)


def due_in_s(url: str, ahead_s: float) -> float:
    """In how many seconds the press that waits is due, by a clock that is so far ahead of the true time."""
    found = times(url, "SELECT run_at_ms FROM submissions WHERE state = 'waiting'")
    assert len(found) == 1, [found, times(url, "SELECT id || state || run_at_ms || reason FROM submissions")]
    return found[0] / 1000 - time.time() - ahead_s


@pytest.mark.parametrize(
    "by_s", [-HOUR_S, *(pytest.param(s, marks=pytest.mark.soak) for s in (HOUR_S, -400 * DAY_S))]
)
def test_a_clock_that_is_set_stops_nothing(
    start: Start, eventually: Any, machine: MachineClock, by_s: float
) -> None:
    """The rate is used up to the last request, presses wait for their turn; then the clock is another. All goes on at once."""
    server = start(machine)
    for number in range(3):
        server.submit(kind="imagine", prompt=f"cat {number}")
    eventually(lambda: server.sandbox.accepted("/action"))  # in the middle of it
    machine.set(by_s)
    eventually(lambda: upscaled(server, 3))
    server.submit(kind="imagine", prompt="a dog")
    eventually(lambda: upscaled(server, 4))
    assert server.sandbox.ledger()["billed"]["action"] == 16


@pytest.mark.parametrize("by_s", [-HOUR_S, 400 * DAY_S, pytest.param(HOUR_S, marks=pytest.mark.soak)])
@pytest.mark.parametrize("stopped", [False, True], ids=["while it runs", "between two runs"])
def test_what_is_to_be_done_in_three_days_is_done_then(
    start: Start, eventually: Any, machine: MachineClock, database_url: str, by_s: float, stopped: bool
) -> None:
    """A rule presses after three days. Whoever sets the clock meanwhile, it is pressed in three days: no hour later or earlier."""
    server = start(machine, LATER)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: waiting_presses(server) == 1)
    if stopped:
        server.stop()
        machine.set(by_s)
        server = start(machine, LATER)
    else:
        machine.set(by_s)
    is_file = database_url.startswith("sqlite")
    if is_file:
        eventually(lambda: "the clock was set" in server.output)
    else:
        assert server.http.get("/healthz").status_code == 200
    assert abs(due_in_s(database_url, by_s if is_file else 0) - THREE_DAYS_S) < SLACK_S
    machine.set(0)
    if is_file:
        eventually(lambda: server.output.count("the clock was set") == 2)
    assert abs(due_in_s(database_url, 0) - THREE_DAYS_S) < SLACK_S


def test_two_machines_whose_clocks_differ_by_an_hour_agree(
    start: Start, eventually: Any, tmp_path: Path, postgres_url: str
) -> None:
    """One PostgreSQL, and one of two machines is an hour ahead. What either writes carries the database's time, and each takes
    up what the other left."""
    right, wrong = MachineClock(tmp_path / "right"), MachineClock(tmp_path / "wrong")
    wrong.set(HOUR_S)
    servers = [start(right, LATER, DATABASE_URL=postgres_url), start(wrong, LATER, DATABASE_URL=postgres_url)]
    for number, server in enumerate(servers):
        server.submit(kind="imagine", prompt=f"cat {number}")
    eventually(lambda: waiting_presses(servers[0]) == 2)
    for found in times(postgres_url, "SELECT run_at_ms FROM submissions WHERE state = 'waiting'"):
        assert abs(found / 1000 - time.time() - THREE_DAYS_S) < SLACK_S
    written = times(
        postgres_url, "SELECT created_at_ms FROM submissions UNION SELECT received_at_ms FROM events"
    )
    assert all(abs(one / 1000 - time.time()) < SLACK_S for one in written)
    servers[0].kill()
    servers[1].submit(kind="imagine", prompt="a dog")
    eventually(lambda: waiting_presses(servers[1]) == 3)


def has_pruned(database_url: str) -> bool:
    """True if a pass over what is old has begun at least once."""
    engine = write_engine(database_url)
    with engine.connect() as connection:
        found = settings.value(connection, LAST_PASS)
    engine.dispose()
    return found is not None


def test_a_clock_that_is_a_year_ahead_for_a_while_drops_nothing(
    start: Start, eventually: Any, machine: MachineClock, database_url: str
) -> None:
    """What is older than a day may go. The clock is a year ahead when the server starts, and the pass at the start drops nothing
    of today's; then it is put back."""
    keep = "[retention]\nchain_days = 1\nprogress_days = 1\n"
    server = start(machine, RULES, keep)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: upscaled(server, 1))
    events = len(server.get("/api/events?limit=200")["events"])
    eventually(lambda: has_pruned(database_url))  # a pass has the last one's time to compare with
    server.stop()
    machine.set(365 * DAY_S)
    server = start(machine, RULES, keep)
    if database_url.startswith("sqlite"):  # PostgreSQL's own clock is right
        eventually(lambda: "the clock is far ahead of the last pass" in server.output)
    machine.set(0)
    server.submit(kind="imagine", prompt="a dog")
    eventually(lambda: upscaled(server, 2))
    assert len(server.get("/api/chains")["chains"]) == 2
    assert len(server.get("/api/events?limit=200")["events"]) >= events
