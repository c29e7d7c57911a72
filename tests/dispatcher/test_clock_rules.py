"""Rules that run by the clock: each time once, whoever looks, and whatever happens to the rule, the process and the clock."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.loops.strike import Striker
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.plugins.upstream_handle import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from dispatcher.trying.whatif import WhatIf
from midjourney.dialects import DIALECTS
from storage.clock import now_ms
from storage.engine import Database
from storage.records import STRUCK, Timed
from storage.timetable import timetable
from storage.upstreams import standings

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
RULE = '[[rules]]\nname = "nine"\nevery = "{}"\nimagine = "a cat"\n{}\n'
NINE = RULE.format("0 9 * * *", "")
HANDLES = {"main": UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"])}


def ms(written: str) -> int:
    """A moment in UTC, in epoch milliseconds."""
    return int(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp() * 1000)


class Clock:
    """Shows what a test says. It is in the past, so that what is due by it may run."""

    def __init__(self, written: str) -> None:
        self.now_ms = ms(written)

    def __call__(self) -> int:
        return self.now_ms

    def set(self, written: str) -> None:
        self.now_ms = ms(written)


def registry_of(toml: str) -> Registry:
    """The registry of a process with these rules."""
    for signal in SIGNALS.values():
        signal._clear_state()
    for rule in load_rules(tomllib.loads(toml).get("rules", []), file="rules.toml", text=toml):
        connect(rule)
    return Registry(SIGNALS)


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-03-02 08:00")


@pytest.fixture
def process(database: Database, signals: Any, clock: Clock) -> Callable[[str], Striker]:
    """The loop of a process with these rules."""
    return lambda toml: Striker(database, registry_of(toml), HANDLES, clock)


async def struck(bench: Any) -> list[str]:
    """The times for which there are occurrences, in the order in which they were written."""
    return [event.status for event in await bench.events() if event.signal == STRUCK]


async def test_each_time_gives_one_event_with_the_rules_deliveries(
    bench: Any, process: Any, clock: Clock
) -> None:
    """Not at once, and not before its time."""
    striker = process(NINE)
    await striker.turn()
    clock.set("2026-03-02 08:59")
    await striker.turn()
    assert await struck(bench) == []
    for written in ("2026-03-02 09:00", "2026-03-02 09:01", "2026-03-03 08:59", "2026-03-03 09:00"):
        clock.set(written)
        await striker.turn()
        await striker.turn()
    assert await struck(bench) == ["2026-03-02T09:00Z", "2026-03-03T09:00Z"]
    (event, _) = [one for one in await bench.events() if one.signal == STRUCK]
    assert (event.action, event.upstream, event.task_id, event.detail) == (
        "nine",
        "main",
        "",
        "0 9 * * * UTC",
    )
    assert [one.receiver for one in await bench.deliveries()] == ["rule:nine", "rule:nine"]


async def test_two_processes_decide_once(bench: Any, process: Any, clock: Clock) -> None:
    """At the same moment, for many days."""
    both = [process(NINE), process(NINE)]
    await both[0].turn()
    for day in range(2, 12):
        clock.set(f"2026-03-{day:02} 09:00")
        await asyncio.gather(*(one.turn() for one in both))
    assert await struck(bench) == [f"2026-03-{day:02}T09:00Z" for day in range(2, 12)]
    assert len(await bench.deliveries()) == 10


async def test_the_slower_of_two_processes_writes_nothing(database: Database, bench: Any) -> None:
    """Its decision was made about a row that has moved since."""
    first = Timed(rule="nine", every="0 9 * * * UTC", decided_ms=1, next_ms=2)
    then = Timed(rule="nine", every="0 9 * * * UTC", decided_ms=2, next_ms=3)

    def moves(seen: Timed | None, now: Timed) -> Any:
        return database.write("strike", lambda connection: timetable.move(connection, seen, now))

    assert [await moves(None, first), await moves(None, first)] == [True, False]
    assert [await moves(first, then), await moves(first, then)] == [True, False]


@pytest.mark.parametrize(("missed", "expected"), [("skip", []), ("once", ["2026-03-02T09:00Z"])])
async def test_what_passed_while_nobody_was_there(
    bench: Any, process: Any, clock: Clock, missed: str, expected: list[str]
) -> None:
    """It is skipped, or made up for once, and an event says so; the next time is as ever."""
    toml = RULE.format("0 9 * * *", f'missed = "{missed}"')
    await process(toml).turn()
    clock.set("2026-03-05 10:00")
    striker = process(toml)
    await striker.turn()
    assert await struck(bench) == expected
    told = [event.status for event in await bench.events() if event.signal is None]
    assert told == ([] if expected else ["2026-03-02T09:00Z"])
    clock.set("2026-03-06 09:00")
    await striker.turn()
    assert await struck(bench) == [*expected, "2026-03-06T09:00Z"]


async def test_a_restart_at_nine_loses_nothing(bench: Any, process: Any, clock: Clock) -> None:
    await process(NINE).turn()
    clock.set("2026-03-02 09:04")
    await process(NINE).turn()
    assert await struck(bench) == ["2026-03-02T09:00Z"]


async def test_a_rule_begins_with_the_next_time(bench: Any, process: Any, clock: Clock) -> None:
    """Also one whose text was changed, and changed back; and one that was gone for a while."""
    await process(NINE).turn()
    clock.set("2026-03-02 08:30")
    await process(RULE.format("0 10 * * *", 'missed = "once"')).turn()
    clock.set("2026-03-02 09:30")
    await process(NINE).turn()
    await process("").turn()
    clock.set("2026-03-03 09:01")
    await process(RULE.format("0 9 * * *", 'missed = "once"')).turn()
    assert await struck(bench) == []
    clock.set("2026-03-04 09:00")
    await process(NINE).turn()
    assert await struck(bench) == ["2026-03-04T09:00Z"]


async def test_a_rule_that_is_edited_back_does_not_repeat_its_time(
    bench: Any, process: Any, clock: Clock
) -> None:
    await process(NINE).turn()
    clock.set("2026-03-02 09:00")
    await process(NINE).turn()
    for toml in (RULE.format("0 9 * * mon", ""), "", NINE):
        await process(toml).turn()
    assert await struck(bench) == ["2026-03-02T09:00Z"]


MINUTELY = RULE.format("* * * * *", "")


async def told(bench: Any) -> list[tuple[str, str, str]]:
    """The rule, the time and the reason of each time that was missed."""
    return [(one.action, one.status, one.detail) for one in await bench.events() if one.signal is None]


@pytest.mark.parametrize("after", ["2026-03-02 08:23", "2026-03-02 08:27"])
async def test_a_rule_that_is_changed_at_its_time_fires_if_it_still_has_it(
    bench: Any, process: Any, clock: Clock, after: str
) -> None:
    """Once; and no time is made up for that only the new text has."""
    clock.set("2026-03-02 08:22")
    await process(MINUTELY).turn()
    clock.set(after)
    clock.now_ms += 5
    striker = process(RULE.format("*/1 * * * *", ""))
    await striker.turn()
    await process(MINUTELY).turn()
    assert await struck(bench) == ["2026-03-02T08:23Z"]
    clock.now_ms += 60_000
    await process(MINUTELY).turn()
    assert (await struck(bench))[1:] == [after.replace(" ", "T")[:-2] + f"{int(after[-2:]) + 1}Z"]
    assert await told(bench) == []


@pytest.mark.parametrize(
    ("changed", "rule", "why"),
    [
        (RULE.format("0 9 * * *", ""), "nine", "the rule was changed at its time"),
        (
            MINUTELY.replace("nine", "ten"),
            "nine",
            "the rule was removed, renamed or switched off at its time",
        ),
        ("", "nine", "the rule was removed, renamed or switched off at its time"),
        (
            RULE.format("* * * * *", "enabled = false"),
            "nine",
            "the rule was removed, renamed or switched off at its time",
        ),
    ],
)
async def test_a_time_that_is_lost_by_a_change_is_told(
    bench: Any, process: Any, clock: Clock, changed: str, rule: str, why: str
) -> None:
    """Once, and only if it has just come."""
    clock.set("2026-03-02 08:22")
    await process(MINUTELY).turn()
    clock.set("2026-03-02 08:23")
    await process(changed).turn()
    await process(changed).turn()
    assert await struck(bench) == []
    assert await told(bench) == [(rule, "2026-03-02T08:23Z", f"missed: {why}")]


async def test_a_rule_that_is_gone_for_long_is_not_told(bench: Any, process: Any, clock: Clock) -> None:
    await process(NINE).turn()
    clock.set("2026-03-02 09:06")
    await process("").turn()
    assert await told(bench) == []


@pytest.mark.parametrize(
    ("after", "missed", "expected", "reason"),
    [
        (
            "0 9 * * 1-5",
            "skip",
            [],
            'missed: no process ran, or the upstream was paused or down, and missed = "skip"',
        ),
        ("0 9 * * 1-5", "once", ["2026-03-02T09:00Z"], ""),
    ],
)
async def test_a_rule_that_is_changed_long_after_its_time(
    bench: Any, process: Any, clock: Clock, after: str, missed: str, expected: list[str], reason: str
) -> None:
    """Has missed it, if it still has it."""
    await process(NINE).turn()
    clock.set("2026-03-02 10:00")
    await process(RULE.format(after, f'missed = "{missed}"')).turn()
    assert await struck(bench) == expected
    assert [why for _, _, why in await told(bench)] == ([reason] if reason else [])


async def test_of_many_times_the_event_names_the_one_that_fires(
    bench: Any, process: Any, clock: Clock
) -> None:
    await process(MINUTELY).turn()
    clock.set("2026-03-02 09:14")
    await process(MINUTELY).turn()
    assert await struck(bench) == ["2026-03-02T09:14Z"]
    why = "missed: no process ran, or the upstream was paused or down; of the times that passed, only 09:14Z fires"
    assert await told(bench) == [("nine", "2026-03-02T08:01Z", why)]


async def test_a_rule_that_is_gone_or_switched_off_does_nothing(
    bench: Any, process: Any, clock: Clock
) -> None:
    await process(NINE).turn()
    for toml in ("", RULE.format("0 9 * * *", "enabled = false")):
        clock.set("2026-03-02 09:00")
        await process(toml).turn()
    assert await struck(bench) == []


async def test_a_clock_that_is_set_back_repeats_nothing(bench: Any, process: Any, clock: Clock) -> None:
    """By an hour; while the process runs, and over a restart, and after a change of the text."""
    striker = process(NINE)
    await striker.turn()
    clock.set("2026-03-02 09:30")
    clock.set("2026-03-02 09:00")
    await striker.turn()
    clock.set("2026-03-02 08:10")
    for toml in (NINE, RULE.format("0 9 * * 1", "")):
        await process(toml).turn()
    clock.set("2026-03-02 09:00")
    for toml in (RULE.format("0 9 * * 1", ""), NINE):
        await process(toml).turn()
    await striker.turn()
    assert await struck(bench) == ["2026-03-02T09:00Z"]


async def test_a_clock_that_was_years_ahead_does_not_stop_the_rule(
    bench: Any, process: Any, clock: Clock
) -> None:
    await process(NINE).turn()
    clock.set("2031-01-01 08:00")
    await process(NINE).turn()
    clock.set("2026-03-03 08:00")
    await process(NINE).turn()
    clock.set("2026-03-03 09:00")
    await process(NINE).turn()
    assert await struck(bench) == ["2026-03-03T09:00Z"]


@pytest.mark.parametrize(("minutes", "expected"), [(3, ["2026-03-02T09:00Z"]), (90, [])])
async def test_a_paused_upstream_misses_times(
    database: Database, bench: Any, process: Any, clock: Clock, minutes: int, expected: list[str]
) -> None:
    """What it is resumed for is not what piled up. A rule that only tells somebody does not wait."""
    tells = '[[rules]]\nname = "tells"\nevery = "0 9 * * *"\nforward = { url = "https://example.com" }\n'
    striker = process(NINE + tells)
    await striker.turn()
    await database.write("pause", lambda connection: standings.pause(connection, "main", clock()))
    clock.set("2026-03-02 09:00")
    await striker.turn()
    assert [event.action for event in await bench.events() if event.signal == STRUCK] == ["tells"]
    await database.write("resume", lambda connection: standings.resume(connection, "main", clock()))
    clock.now_ms += minutes * 60_000
    await striker.turn()
    found = [
        event.status for event in await bench.events() if event.signal == STRUCK and event.action == "nine"
    ]
    assert found == expected


async def test_without_such_rules_nothing_is_read(
    bench: Any, process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first look, which may find rules that are gone."""
    striker = process("")
    await striker.turn()
    reads: list[object] = []
    monkeypatch.setattr(bench.database, "read", reads.append)
    await striker.turn()
    assert reads == []


def due_now() -> tuple[str, int]:
    """A text whose time was a minute ago, and comes again in a year."""
    minute_ms = (now_ms() // 60_000 - 1) * 60_000
    return f"{datetime.fromtimestamp(minute_ms / 1000, UTC):%-M %-H %-d %-m} *", minute_ms


async def begin(database: Database, every: str, minute_ms: int, rule: str = "nine") -> None:
    """The rule was loaded an hour ago."""
    row = Timed(rule=rule, every=f"{every} UTC", decided_ms=minute_ms - HOUR_MS, next_ms=minute_ms)
    await database.write("strike", lambda connection: timetable.move(connection, None, row))


async def test_a_worker_submits_when_the_time_has_come(bench: Any, upstream: Any) -> None:
    """In a chain of its own, of which other rules hear as of any picture."""
    every, minute_ms = due_now()
    bench.rules(RULE.format(every, 'state = "{{ event.action }}"'))
    await begin(bench.database, every, minute_ms)
    await bench.start()
    (made,) = await bench.until_states("accepted")
    assert (made.asked_by, made.depth, made.parent_id, made.kind) == ("rule:nine", 0, "", "imagine")
    assert made.chain_id != ""
    (delivery,) = await bench.deliveries()
    assert (delivery.state, delivery.decision, delivery.fired) == ("done", "asked for imagine", True)
    ((path, body),) = upstream.received
    assert (path, body["prompt"], body["state"].endswith("nine")) == ("/mj/submit/imagine", "a cat", True)


async def test_a_condition_that_does_not_hold_is_a_decision(bench: Any, upstream: Any) -> None:
    every, minute_ms = due_now()
    bench.rules(RULE.format(every, "if = \"chain.upstream == 'other'\""))
    await begin(bench.database, every, minute_ms)
    await bench.start()

    async def done() -> Any:
        return [one for one in await bench.deliveries() if one.state == "done"]

    (delivery,) = await bench.until(done)
    assert delivery.decision.startswith("did not fire: chain.upstream == 'other'")
    assert upstream.received == []


@pytest.mark.usefixtures("signals")
def test_a_rule_is_tried_on_the_times_of_the_past() -> None:
    """In which it did not exist; each rule on its own times only, and with one intent for each time."""
    other = '[[rules]]\nname = "monthly"\nevery = "0 0 1 * *"\nimagine = "a dog"\n'
    off = '[[rules]]\nname = "off"\nevery = "* * * * *"\nenabled = false\nshorten = "x"\n'
    toml = NINE + other + off
    rules = load_rules(tomllib.loads(toml)["rules"], file="rules.toml", text=toml)
    what_if = WhatIf(rules, HANDLES, {}, Budget())
    report = what_if.run((), since_ms=ms("2026-02-26 12:00"), until_ms=ms("2026-03-05 09:00"))

    assert what_if.signals == []
    assert [one.rule for one in report.suggested].count("rule:nine") == 7
    assert report.fired == {"rule:nine": 7, "rule:monthly": 1}
    assert (report.events, report.repeats, report.errors) == (8, 0, {})


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(("until", "is_cut"), [("2026-03-04 09:00", False), ("2026-03-05 09:00", True)])
def test_a_trial_says_which_rule_it_cut_and_when(until: str, is_cut: bool) -> None:
    """It has tried the oldest times."""
    rules = load_rules(tomllib.loads(NINE)["rules"], file="rules.toml", text=NINE)
    what_if = WhatIf(rules, HANDLES, {}, Budget(), most_times=6)
    report = what_if.run((), since_ms=ms("2026-02-26 12:00"), until_ms=ms(until))

    assert report.fired == {"rule:nine": 6}
    cut = "what the rule nine would have done from 2026-03-05 09:00:00 UTC on: only its first 6 times were tried"
    assert report.notes == ([cut] if is_cut else [])
