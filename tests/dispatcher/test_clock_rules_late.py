"""What a rule requests by the clock, and cannot send at once: nothing piles up, and nothing is paid for that came too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from dispatcher.policy.chain_budget import Budget
from hookchain.testing.server import Server, Setup
from hookchain.testing.upstream import Answers, rehearsed
from midjourney.dialects import DIALECTS, Upstream
from storage.reading import pages
from storage.records import Submission
from storage.submissions import approvals, decisions, waiting
from storage.timetable import occurrences
from storage.upstreams import standings
from tests.dispatcher.test_clock_rules import DAY_MS, HOUR_MS, RULE, Clock, registry_of

MINUTE_MS = 60_000
PAST = "more than an hour has passed"
NEXT = "the rule's next time has come"


class Relay(Answers):
    """Accepts what comes, or is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.prompts: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if self.is_down:
            raise httpx.ConnectError("refused", request=request)
        self.prompts.append(request.content.decode())
        body = {"code": 1, "description": "ok", "result": f"task-{len(self.prompts)}"}
        return httpx.Response(200, json=body)


class Process:
    """A process whose clock and upstream the test moves. It stops and starts on the same database."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url, self.clock, self.relay = url, clock, Relay()
        self.server: Any = None

    async def start(self, toml: str) -> None:
        """Start, or start again after it was killed."""
        if self.server is not None:
            await self.server.close()
        self.server = Server(self.url, registry_of(toml), self.clock)
        self.server.answers = self.relay
        await self.server.open()
        upstreams = {"main": rehearsed(Upstream(name="main", url="http://relay"))}
        await self.server.configure(Setup(upstreams=upstreams, dialects=DIALECTS, budget=Budget()))
        await self.server.settle()

    async def wait(self, ms: int, step_ms: int = 20_000) -> None:
        """Let time pass."""
        until_ms = self.clock.now_ms + ms
        while self.clock.now_ms < until_ms:
            self.clock.now_ms = min(self.clock.now_ms + step_ms, until_ms)
            await self.server.settle()

    async def until(self, written: str) -> None:
        """Let time pass until a moment."""
        await self.wait(Clock(written).now_ms - self.clock.now_ms)

    async def submissions(self) -> list[Submission]:
        return list((await self.server.state()).submissions.values())

    async def ends(self) -> list[tuple[str, str]]:
        """The state of each submission, with the reason of those that were dropped."""
        return [
            (one.state, one.reason if one.state == "rejected" else "") for one in await self.submissions()
        ]


def dropped(at: str, why: str) -> tuple[str, str]:
    return "rejected", f"not sent: it was for {at}, and {why}"


@pytest.fixture
async def process(database_url: str, signals: Any) -> AsyncIterator[Process]:
    made = Process(database_url, Clock("2026-03-02 08:59"))
    yield made
    if made.server is not None:
        await made.server.close()


@pytest.mark.parametrize("missed", ["skip", "once"])
async def test_an_upstream_that_was_down_gets_one_of_the_times_that_passed(
    process: Process, missed: str
) -> None:
    """Not one for each minute; and then each minute again."""
    await process.start(RULE.format("* * * * *", f'missed = "{missed}"'))
    process.relay.is_down = True
    await process.wait(40 * MINUTE_MS)
    assert process.relay.prompts == []
    assert sum(state == "waiting" for state, _ in await process.ends()) <= 1
    process.relay.is_down = False
    await process.wait(50_000)
    assert len(process.relay.prompts) <= 1
    await process.wait(8 * MINUTE_MS)
    before = len(process.relay.prompts)
    assert 1 <= before <= 9
    await process.wait(3 * MINUTE_MS)
    assert len(process.relay.prompts) == before + 3


async def test_while_the_breaker_is_open_no_time_comes(process: Process) -> None:
    """As while the upstream is paused; an event says so."""
    await process.start(RULE.format("0 9 * * *", ""))
    now_ms = process.clock()
    await keep(process, open_ms=HOUR_MS, open_until_ms=now_ms + HOUR_MS)
    await process.wait(2 * HOUR_MS)
    assert await process.submissions() == []
    (event,) = await process.server.database.read(occurrences_of)
    assert event == ("", 'missed: no process ran, or the upstream was paused or down, and missed = "skip"')


async def keep(process: Process, **limits: int) -> None:
    """Set limits of the upstream."""

    def write(connection: Any) -> None:
        standings.save(connection, replace(standings.held(connection, "main"), **limits))

    await process.server.write("test", write)


def occurrences_of(connection: Any) -> list[tuple[str, str]]:
    """The signal and the detail of each event of the clock."""
    events = pages.event_page(connection, most=50)
    return [(one.signal or "", one.detail) for one in events if one.action == "nine"]


@pytest.mark.parametrize(
    ("every", "missed", "expected", "sent"),
    [
        ("0 9 * * *", "skip", [dropped("2026-03-02T09:00Z", NEXT)], 0),
        ("0 9 2 * *", "skip", [dropped("2026-03-02T09:00Z", PAST)], 0),
        ("0 9 * * *", "once", [dropped("2026-03-02T09:00Z", NEXT), ("accepted", "")], 1),
        ("0 9 2 * *", "once", [("accepted", "")], 1),
    ],
)
async def test_what_waited_when_the_process_was_killed_is_not_sent_days_later(
    process: Process, every: str, missed: str, expected: list[tuple[str, str]], sent: int
) -> None:
    """Nothing with skip; with once only the newest."""
    toml = RULE.format(every, f'missed = "{missed}"')
    await process.start(toml)
    process.relay.is_down = True
    await process.wait(MINUTE_MS)
    assert [state for state, _ in await process.ends()] == ["waiting"]
    process.clock.set("2026-03-04 10:30")
    process.relay.is_down = False
    await process.start(toml)
    await process.wait(MINUTE_MS)
    assert await process.ends() == expected
    assert len(process.relay.prompts) == sent


@pytest.mark.parametrize(("minutes", "is_sent"), [(20, True), (61, False)])
async def test_a_busy_upstream(process: Process, minutes: int, is_sent: bool) -> None:
    """A rule of each week may wait for an hour."""
    await process.start(RULE.format("0 9 * * mon", ""))
    held_ms = (minutes + 1) * MINUTE_MS
    await keep(process, held_ms=held_ms, held_until_ms=process.clock() + held_ms)
    await process.wait((minutes + 3) * MINUTE_MS)
    assert await process.ends() == [("accepted", "") if is_sent else dropped("2026-03-02T09:00Z", PAST)]


@pytest.mark.parametrize("after", ["", 'after = "10 min"'])
async def test_what_is_approved_hours_later_is_sent(process: Process, after: str) -> None:
    """Its time begins with the approval, after which it may be too late as ever."""
    await process.start(RULE.format("0 9 * * *", f"approve = true\n{after}"))
    await process.wait(MINUTE_MS)
    await process.wait(3 * HOUR_MS, HOUR_MS)
    (held,) = await process.submissions()
    assert held.state == "held"

    def approve(connection: Any) -> None:
        approval = approvals.of_submission(connection, held.id)
        assert approval is not None
        decisions.decide(
            connection, approval.id, "released", by="", source="api", now_ms=process.clock.now_ms
        )

    await process.server.write("approve", approve)
    await process.wait(11 * MINUTE_MS)
    assert await process.ends() == [("accepted", "")]


async def test_a_delay_that_is_longer_than_the_interval(process: Process) -> None:
    """Is what the rule says: each is sent after it."""
    await process.start(RULE.format("0 * * * *", 'after = "2 h"'))
    await process.until("2026-03-02 13:30")
    assert [state for state, _ in await process.ends()] == ["accepted"] * 3 + ["waiting"] * 2


async def test_a_person_sends_what_came_too_late(process: Process) -> None:
    """A person decides for themselves."""
    await process.start(RULE.format("0 9 * * mon", ""))
    process.relay.is_down = True
    await process.wait(MINUTE_MS)
    (one,) = await process.submissions()
    await process.server.write("send", lambda c: waiting.send_now(c, one.id, process.clock.now_ms))
    process.clock.now_ms += DAY_MS
    process.relay.is_down = False
    await process.wait(10 * MINUTE_MS)
    assert await process.ends() == [("accepted", "")]


def test_a_time_is_read_as_it_is_written() -> None:
    at_ms = Clock("2026-03-02 09:00").now_ms
    assert occurrences.time_of(occurrences.time_text(at_ms)) == at_ms
