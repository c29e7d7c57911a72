"""What an upstream can take is what it gets: places, requests a second, pauses, and a breaker."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.limits import BREAKER_AFTER, BREAKER_FIRST_MS, BREAKER_LONGEST_MS, Gate
from midjourney.dialects import Upstream
from storage import pauses

PRESS = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


def gate(**fields: Any) -> Gate:
    return Gate(Upstream(url="http://x", **{"concurrency": 3} | fields), 0)


def test_places_are_taken_and_given_back() -> None:
    """Never more at once than the concurrency."""
    one = gate()
    assert [one.take(0), one.take(0)] == [3, 0]
    one.put_back(1)
    one.done()
    assert one.take(0) == 2


def test_no_more_requests_a_second_than_the_rate() -> None:
    """In any second of a minute in which everything is taken at once; and not fewer in the long run."""
    one = gate(concurrency=100, rate=2.0)
    sent: list[int] = []
    for now_ms in range(0, 60_000, 50):
        taken = one.take(now_ms)
        sent += [now_ms] * taken
        for _ in range(taken):
            one.done()
    for begin in range(0, 59_000, 50):
        assert sum(begin <= at < begin + 1000 for at in sent) <= 2 + 2  # the burst that a quiet second saved
    assert 115 <= len(sent) <= 125
    assert gate(concurrency=1, rate=0.5).closed_until_ms(0) == 0


def test_what_a_claim_does_not_use_costs_no_rate() -> None:
    """Places are taken for a claim before anybody knows what is due."""
    one = gate(rate=2.0)
    for now_ms in range(0, 1000, 100):
        one.put_back(one.take(now_ms))
    assert one.take(1000) == 2


def test_questions_are_within_the_rate_and_need_no_place() -> None:
    """Two requests a second, whatever they are; without a rate nothing waits."""
    one = gate(rate=2.0, concurrency=1)
    assert one.take(0) == 1
    assert [one.ask(0) for _ in range(3)] == [0, 500, 1000]
    assert one.take(1000) == 0
    assert one.ask(2000) == 0
    assert gate().ask(0) == 0


def test_a_hold_is_for_everybody_and_ends() -> None:
    """Retry-After, or a full queue."""
    one = gate()
    one.hold(0, 500)
    one.hold(0, 100)
    assert (one.take(499), one.closed_until_ms(499), one.take(500)) == (0, 500, 3)


def test_the_breaker_opens_lets_one_through_and_closes() -> None:
    """After failures in a row; one request then tells, and each further failure doubles the wait, to a bound."""
    one = gate()
    opened = [one.failed(0) for _ in range(BREAKER_AFTER)]
    assert opened == [False] * (BREAKER_AFTER - 1) + [True]
    assert one.take(BREAKER_FIRST_MS - 1) == 0
    assert one.take(BREAKER_FIRST_MS) == 1
    assert one.take(BREAKER_FIRST_MS) == 0
    one.done()
    assert one.failed(BREAKER_FIRST_MS)
    assert one.closed_until_ms(BREAKER_FIRST_MS) == 3 * BREAKER_FIRST_MS
    for _ in range(20):
        one.failed(0)
    assert one.closed_until_ms(0) <= BREAKER_LONGEST_MS
    one.answered()
    assert (one.breaker, one.take(0)) == ("closed", 3)


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    """In a row means in a row."""
    one = gate()
    for _ in range(3 * BREAKER_AFTER):
        for _ in range(BREAKER_AFTER - 1):
            one.failed(0)
        one.answered()
    assert one.breaker == "closed"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling and backoff in hundredths of a second."""
    monkeypatch.setattr("dispatcher.outcomes.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.supervisor.POLL_S", 0.02)


@pytest.mark.usefixtures("quick")
async def test_a_paused_upstream_gets_nothing_and_what_waits_is_kept(bench: Any) -> None:
    """Until it is resumed; then all of it goes."""
    bench.rules(PRESS)
    await bench.database.write("pause", lambda connection: pauses.pause(connection, "main"))
    await bench.start()
    await bench.callback()
    await bench.until_states(*["waiting"] * 4)
    assert bench.upstream.received == []
    await bench.database.write("resume", lambda connection: pauses.resume(connection, "main"))
    await bench.until_states(*["accepted"] * 4)


async def test_no_more_jobs_are_under_way_than_the_plan_allows(bench: Any) -> None:
    """Two of four presses go; each of the others when a picture is finished, at once."""
    bench.rules(PRESS)
    bench.options["jobs"] = 2
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted", "accepted", "waiting", "waiting")
    for number in (1, 2):
        made = [one for one in await bench.submissions() if one.state == "accepted"]
        await bench.callback(made[number - 1].task_ids[0], action="UPSCALE", buttons=[])
        await bench.until_states(*["accepted"] * (2 + number), *["waiting"] * (2 - number))
        assert len(bench.upstream.received) == 2 + number


@pytest.mark.usefixtures("quick")
async def test_an_upstream_that_asks_for_time_gets_it(bench: Any) -> None:
    """429 with Retry-After to the first: nobody else asks before that time."""
    bench.rules(PRESS)
    bench.options["concurrency"] = 1
    at: list[int] = []

    def answer(_path: str, body: dict[str, Any]) -> tuple[int, Any]:
        at.append(len(bench.upstream.received))
        if len(at) == 1:
            return 429, {"code": 30, "description": "busy"}
        return 200, {"code": 1, "description": "ok", "result": f"c{len(at)}"}

    bench.upstream.answer = answer
    await bench.start()
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    tries = sorted([one.attempts for one in await bench.submissions()])
    assert tries == [1, 1, 1, 2]


@pytest.mark.usefixtures("quick")
async def test_an_upstream_that_answers_nonsense_is_left_alone(bench: Any) -> None:
    """500 to everything: after a handful no more is sent, and what waits is kept."""
    bench.rules(PRESS)
    bench.upstream.answer = lambda path, body: (500, b"<html>")
    await bench.start()
    for number in range(5):
        await bench.callback(f"grid-{number}")

    async def settled() -> bool:
        found = await bench.submissions()
        states = [one.state for one in found]
        return len(found) == 20 and "sending" not in states and states.count("uncertain") >= BREAKER_AFTER

    await bench.until(settled)
    assert len(bench.upstream.received) < BREAKER_AFTER + 3
    waiting = [one for one in await bench.submissions() if one.state == "waiting"]
    assert len(waiting) == 20 - len(bench.upstream.received)
