"""What an upstream can take is what it gets: places, requests a second, pauses, and a breaker."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.policy import upstream_limits
from dispatcher.policy.upstream_limits import BREAKER_AFTER, BREAKER_FIRST_MS, BREAKER_LONGEST_MS
from midjourney.dialects import Upstream
from storage.records import Standing
from storage.upstreams import standings
from storage.upstreams.standings import Load

PRESS = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""
NEW = Standing(name="main")


def of(**fields: Any) -> Upstream:
    return Upstream(url="http://x", **{"concurrency": 3} | fields)


def test_no_more_are_under_way_than_the_concurrency_and_the_plan_allow() -> None:
    """Whoever sends them."""
    assert [upstream_limits.places(of(), NEW, Load(sending), 0) for sending in (0, 1, 3, 4)] == [3, 2, 0, 0]
    assert [upstream_limits.places(of(jobs=2), NEW, Load(1, jobs), 0) for jobs in (0, 1, 2)] == [2, 1, 0]


def test_no_more_requests_a_second_than_the_rate() -> None:
    """In any second of a minute in which everything is taken at once; and not fewer in the long run."""
    upstream, standing = of(concurrency=100, rate=2.0), NEW
    sent: list[int] = []
    for now_ms in range(0, 60_000, 50):
        taken = upstream_limits.places(upstream, standing, Load(), now_ms)
        sent += [now_ms] * taken
        standing = upstream_limits.after_requests(upstream, standing, taken, now_ms)
    for begin in range(0, 59_000, 50):
        assert sum(begin <= at < begin + 1000 for at in sent) <= 2 + 2  # the burst that a quiet second saved
    assert 115 <= len(sent) <= 125
    assert upstream_limits.closed_until_ms(of(rate=0.5), NEW, 0) == 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.5, 40.0])
def test_what_is_closed_opens_at_the_time_that_was_told(rate: float) -> None:
    """Not before, and not after."""
    upstream = of(concurrency=100, rate=rate)
    standing = upstream_limits.after_requests(
        upstream, NEW, upstream_limits.places(upstream, NEW, Load(), 0), 0
    )
    until_ms = upstream_limits.closed_until_ms(upstream, standing, 0)
    assert upstream_limits.places(upstream, standing, Load(), until_ms - 1) == 0
    assert upstream_limits.places(upstream, standing, Load(), until_ms) == 1


def test_questions_are_within_the_rate_and_need_no_place() -> None:
    """Two requests a second, whatever they are; without a rate nothing waits."""
    upstream, standing, waits = of(rate=2.0, concurrency=1), NEW, []
    standing = upstream_limits.after_requests(upstream, standing, 1, 0)
    for _ in range(3):
        standing = upstream_limits.after_requests(upstream, standing, 1, 0)
        waits.append(upstream_limits.wait_ms(upstream, standing, 0))
    assert waits == [0, 500, 1000]
    assert upstream_limits.places(upstream, standing, Load(), 1000) == 0
    standing = upstream_limits.after_requests(upstream, standing, 1, 2000)
    assert upstream_limits.wait_ms(upstream, standing, 2000) == 0
    assert upstream_limits.wait_ms(of(), upstream_limits.after_requests(of(), NEW, 9, 0), 0) == 0


def test_a_hold_is_for_everybody_and_ends() -> None:
    """Retry-After, or a full queue."""
    standing = upstream_limits.held(upstream_limits.held(NEW, 0, 500), 0, 100)
    assert upstream_limits.places(of(), standing, Load(), 499) == 0
    assert upstream_limits.closed_until_ms(of(), standing, 499) == 500
    assert upstream_limits.places(of(), standing, Load(), 500) == 3


def test_the_breaker_opens_lets_one_through_and_waits_longer_each_time() -> None:
    """After failures in a row; one request then tells, and each further failure doubles the wait, to a bound."""
    standing = NEW
    for _ in range(BREAKER_AFTER - 1):
        standing = upstream_limits.failed(standing, 0)
        assert upstream_limits.breaker(standing) == "closed"
    standing = upstream_limits.failed(standing, 0)
    assert upstream_limits.breaker(standing) == "open"
    assert upstream_limits.places(of(), standing, Load(), BREAKER_FIRST_MS - 1) == 0
    assert upstream_limits.places(of(), standing, Load(), BREAKER_FIRST_MS) == 1
    assert upstream_limits.places(of(), standing, Load(1), BREAKER_FIRST_MS) == 0
    standing = upstream_limits.failed(standing, BREAKER_FIRST_MS)
    assert upstream_limits.closed_until_ms(of(), standing, BREAKER_FIRST_MS) == 3 * BREAKER_FIRST_MS
    for _ in range(20):
        standing = upstream_limits.failed(standing, 0)
    assert upstream_limits.closed_until_ms(of(), standing, 0) <= BREAKER_LONGEST_MS


async def test_an_answer_closes_the_breaker_for_everybody(bench: Any) -> None:
    """And a success between failures keeps it closed: in a row means in a row."""

    def fail(connection: Any, times: int) -> Standing:
        for _ in range(times):
            standings.save(connection, upstream_limits.failed(standings.held(connection, "main"), 0))
        return standings.held(connection, "main")

    for _ in range(3):
        standing = await bench.database.write("fail", lambda c: fail(c, BREAKER_AFTER - 1))
        assert upstream_limits.breaker(standing) == "closed"
        assert await bench.database.write("answer", lambda c: standings.answered(c, "main"))
    standing = await bench.database.write("fail", lambda c: fail(c, BREAKER_AFTER))
    assert upstream_limits.breaker(standing) == "open"
    assert await bench.database.write("answer", lambda c: standings.answered(c, "main"))
    assert await bench.database.write("look", lambda c: standings.held(c, "main")) == NEW
    assert not await bench.database.write("answer", lambda c: standings.answered(c, "main"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second, and polling in tenths."""
    monkeypatch.setattr("dispatcher.policy.outcomes.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.policy.queue_full.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)


@pytest.mark.usefixtures("quick")
async def test_a_paused_upstream_gets_nothing_and_what_waits_is_kept(bench: Any) -> None:
    """Until it is resumed; then all of it goes."""
    bench.rules(PRESS)
    await bench.database.write("pause", lambda connection: standings.pause(connection, "main", 1))
    await bench.start()
    await bench.callback()
    await bench.until_states(*["waiting"] * 4)
    assert bench.upstream.received == []
    await bench.database.write("resume", lambda connection: standings.resume(connection, "main", 1))
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


ZOOM_AND_ANSWER = """
[[rules]]
name = "zoom"
on = "task.succeeded"
if = "chain.depth == 0"
press = "custom_zoom"

[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = { prompt = "{{ modal.prompt }} --zoom 1.8" }
"""
WITH_ZOOM = {
    "action": "UPSCALE",
    "buttons": [{"customId": "MJ::CustomZoom::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6", "label": "Custom Zoom"}],
}


@pytest.mark.parametrize("answer_makes_its_own_task", [False, True])
async def test_an_answered_window_takes_a_place_from_its_acceptance(
    bench: Any, answer_makes_its_own_task: bool
) -> None:
    """Nine windows are answered at an upstream that calls back late; the plan allows three jobs."""
    bench.rules(ZOOM_AND_ANSWER)
    bench.options |= {"jobs": 3, "concurrency": 20}
    opened, running, most = iter(range(100)), [], 0

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        nonlocal most
        if path.endswith("action"):
            return 200, {"code": 21, "description": "窗口等待", "result": f"w{next(opened)}"}
        running.append(body["taskId"].replace("w", "job") if answer_makes_its_own_task else body["taskId"])
        most = max(most, len(running))
        return 200, {"code": 1, "description": "ok", "result": running[-1]}

    bench.upstream.answer = answer
    await bench.start()
    for number in range(9):
        await bench.callback(f"single-{number}", **WITH_ZOOM)
    for left in range(9, 0, -1):

        async def as_many_run_as_may(left: int = left) -> bool:
            made = await bench.submissions(kind="modal", state="accepted")
            return len(running) >= min(3, left) and len(made) == 9 - left + len(running)

        await bench.until(as_many_run_as_may)
        await bench.callback(running.pop(0), action="ZOOM", buttons=[])
    assert most == 3


async def test_a_window_that_somebody_else_opened_takes_a_place_once_we_answer_it(bench: Any) -> None:
    """Ten windows of other programs wait, which is free; the answers are ours."""
    bench.rules(ZOOM_AND_ANSWER.partition("\n\n")[2])
    bench.options |= {"jobs": 2, "concurrency": 20}
    bench.upstream.answer = lambda path, body: (
        200,
        {"code": 1, "description": "ok", "result": body["taskId"]},
    )
    await bench.start()
    for number in range(5):
        await bench.callback(f"w{number}", status="MODAL", progress="", buttons=[])
    await bench.until_states(*["accepted"] * 2, *["waiting"] * 3)
    first = bench.upstream.received[0][1]["taskId"]
    await bench.callback(first, status="IN_PROGRESS", progress="10%", buttons=[])
    await bench.callback(first, action="ZOOM", buttons=[])
    await bench.until_states(*["accepted"] * 3, *["waiting"] * 2)
    assert len(bench.upstream.received) == 3
