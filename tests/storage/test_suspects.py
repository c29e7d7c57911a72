"""Whom the end of a process is blamed on: nobody who was not alone, and nobody without whom processes end as well."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from storage import clock_steps, schema
from storage.deliveries import dead_deliveries, delivery_queue, endings, suspects
from storage.deliveries.endings import Ended
from storage.deliveries.running_alone import Floor
from storage.deliveries.suspects import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, MOST_DEATHS
from storage.engine import Database
from storage.events import event_log
from storage.reading import pages
from storage.records import ClaimedDelivery, Delivery
from storage.workers import leases

RECEIVERS = ["plugin:deadly", "plugin:innocent", "rule:upscale-all"]
RUNS_MS = 60_000
"""How long a receiver of a plugin may take."""


def longest_ms(receiver: str) -> int:
    return 0 if receiver.startswith("rule:") else RUNS_MS


class Process:
    """One that works on the database, at times that are ours."""

    count = 0

    def __init__(self, connection: Connection, born_ms: int) -> None:
        Process.count += 1
        self.connection = connection
        self.name = f"worker-{Process.count}"
        self.running: list[ClaimedDelivery] = []
        lease = {"name": f"worker:{self.name}", "holder": self.name, "since_ms": born_ms, "until_ms": 1}
        connection.execute(insert(schema.leases).values(lease))

    def claim(self, now_ms: int, **floor: Any) -> list[str]:
        """The receivers that begin."""
        is_free = all(longest_ms(one.delivery.receiver) == 0 for one in self.running)
        has_suspect = any(one.delivery.suspected for one in self.running)
        beside = Floor(harmless=lambda name: not longest_ms(name), is_free=is_free, has_suspect=has_suspect)
        claimed = delivery_queue.claim(
            self.connection, 64, now_ms, room=lambda _name: 16, worker=self.name, floor=beside
        )
        self.running += claimed
        return sorted(one.delivery.receiver for one in claimed)

    def end(self, receiver: str, now_ms: int, ending: Ended | None = None) -> None:
        (one,) = [one for one in self.running if one.delivery.receiver == receiver]
        self.running.remove(one)
        endings.end(self.connection, one, ending or Ended(state="done"), refuse=lambda *_: "", now_ms=now_ms)


def hears(
    connection: Connection, task_id: str = "grid", receivers: list[str] = RECEIVERS, now_ms: int = 1
) -> None:
    event_log.append(
        connection,
        event_log.fact(
            upstream="main",
            signal="task.succeeded",
            source="internal",
            task_id=task_id,
            now_ms=now_ms,
        ),
    )
    delivery_queue.fan_out(connection, lambda _event: receivers, 100, now_ms)


def found_dead(connection: Connection, now_ms: int) -> None:
    """Whoever is here sees that others are gone without a word."""
    gone = leases.bury(connection, all_of_them=True)
    suspects.give_back(connection, gone, longest_ms, now_ms)


def stored(connection: Connection, receiver: str) -> Delivery:
    return next(one for one in pages.delivery_page(connection, most=99) if one.receiver == receiver)


async def test_nobody_is_charged_where_several_ran_and_each_runs_alone_next(database: Database) -> None:
    """The rule, which cannot end a process, is no suspect: it waits for nobody, and nobody for it."""

    def story(connection: Connection) -> None:
        hears(connection)
        assert Process(connection, 0).claim(1000) == RECEIVERS
        found_dead(connection, 2000)
        for receiver in RECEIVERS:
            one = stored(connection, receiver)
            assert (one.state, one.attempts, one.tries, one.deaths) == ("waiting", 1, 0, 0)
            assert one.suspected is (receiver != "rule:upscale-all")
        second = Process(connection, 2000)
        assert second.claim(2000) == ["rule:upscale-all"]  # the others pause
        assert second.claim(3000) == ["plugin:deadly"]
        hears(connection, "another", ["plugin:new", "rule:new"], 3000)
        assert second.claim(3000) == ["rule:new"]  # the other suspect and the new one wait until it has ended
        found_dead(connection, 4000)
        assert (stored(connection, "plugin:deadly").deaths, stored(connection, "rule:new").deaths) == (1, 0)
        assert stored(connection, "plugin:deadly").decision.endswith("alone (1 of 5 times)")
        third = Process(connection, 4000)
        assert third.claim(4000) == ["plugin:innocent", "rule:new", "rule:upscale-all"]
        third.end("plugin:innocent", 4001)
        assert third.claim(4001) == ["plugin:new"]
        assert not stored(connection, "plugin:innocent").suspected

    await database.write("test", story)


async def test_what_is_given_back_is_written_at_that_moment(database: Database) -> None:
    """Its pause begins then: if the clock was wrong, it is known by when a pause began (storage/clock_steps.py)."""

    def story(connection: Connection) -> None:
        hears(connection)
        Process(connection, 0).claim(1000)
        found_dead(connection, 2000)
        assert {stored(connection, receiver).updated_at_ms for receiver in RECEIVERS} == {2000}
        ahead_ms = clock_steps.IMPOSSIBLE_MS + 1000
        clock_steps.mend(connection, 2000 - ahead_ms)  # the clock was ahead by so much when the process died
        due_ms = [stored(connection, receiver).run_at_ms for receiver in RECEIVERS]
        assert max(due_ms) == 2000 - ahead_ms + FIRST_PAUSE_MS

    await database.write("test", story)


async def test_a_suspect_begins_when_the_others_have_ended_and_none_begins_before_it(
    database: Database,
) -> None:
    """However many come meanwhile: else it would wait for ever."""

    def story(connection: Connection) -> None:
        hears(connection, receivers=["plugin:deadly", "plugin:innocent"])
        Process(connection, 0).claim(1000)
        found_dead(connection, 2000)
        second = Process(connection, 2000)
        hears(connection, "another", ["plugin:slow"], 2500)
        assert second.claim(2500) == ["plugin:slow"]
        hears(connection, "third", ["plugin:late"], 3001)
        assert second.claim(3001) == []
        second.end("plugin:slow", 3002)
        assert second.claim(3002) == ["plugin:deadly"]
        second.end("plugin:deadly", 3003)
        found = delivery_queue.claim(
            connection, 9, 3004, room=lambda _name: 9, floor=Floor(rests=True), worker=second.name
        )
        assert [one.delivery.receiver for one in found] == ["plugin:late"]  # others, before the next suspect

    await database.write("test", story)


async def test_what_else_a_suspects_receiver_has_to_hear_runs_alone_too(database: Database) -> None:
    """A receiver that ends every process ends one at a time, and takes nobody along."""

    def story(connection: Connection) -> None:
        hears(connection, receivers=["plugin:deadly", "plugin:innocent"])
        Process(connection, 0).claim(1000)
        found_dead(connection, 2000)
        hears(connection, "another", ["plugin:deadly"])
        second = Process(connection, 2000)
        assert second.claim(2001) == ["plugin:deadly"]
        hears(connection, "third", ["plugin:new"])
        assert second.claim(2002) == []
        found_dead(connection, 2003)
        found = [one for one in pages.delivery_page(connection, most=99) if one.deaths]
        assert [(one.receiver, one.suspected) for one in found] == [("plugin:deadly", True)]

    await database.write("test", story)


def charged(connection: Connection, times: int) -> int:
    """The deadly one ends one process after the other; when the last one has ended."""
    hears(connection, receivers=["plugin:deadly", "plugin:innocent"])
    Process(connection, 0).claim(1000)
    now_ms = 2000
    found_dead(connection, now_ms)
    while stored(connection, "plugin:deadly").deaths < times:
        born_ms = now_ms
        one = Process(connection, born_ms)
        now_ms = max(now_ms, stored(connection, "plugin:deadly").run_at_ms)
        ran = one.claim(now_ms)
        if ran == ["plugin:innocent"]:
            one.end("plugin:innocent", now_ms)
            ran = one.claim(now_ms)
        assert ran == ["plugin:deadly"]
        found_dead(connection, now_ms)
        before = stored(connection, "plugin:deadly")
        lived_ms = now_ms - born_ms + RUNS_MS
        assert before.run_at_ms - now_ms == min(2 * lived_ms, LONGEST_PAUSE_MS)
    return now_ms


async def test_who_is_charged_waits_for_twice_as_long_as_the_process_had_lived(database: Database) -> None:
    """And the others have run by then: nobody but the one is charged, or dead."""

    def story(connection: Connection) -> None:
        charged(connection, MOST_DEATHS)
        assert stored(connection, "plugin:deadly").deaths == MOST_DEATHS
        assert stored(connection, "plugin:innocent").state in ("waiting", "done")
        assert stored(connection, "plugin:innocent").deaths == 0

    await database.write("test", story)


@pytest.mark.parametrize("running", [[], ["rule:upscale-all"], ["plugin:a", "plugin:b"]])
async def test_processes_that_end_without_it_acquit_it(database: Database, running: list[str]) -> None:
    """A platform kills them, again and again, whatever runs: whoever was alone at the time had no part in it."""

    def story(connection: Connection) -> None:
        now_ms = charged(connection, MOST_DEATHS - 1)
        hears(connection, "another", running)
        Process(connection, now_ms).claim(now_ms + 1)
        found_dead(connection, now_ms + 2)
        assert stored(connection, "plugin:deadly").deaths == 0
        assert stored(connection, "plugin:deadly").suspected

    await database.write("test", story)


async def test_a_process_killed_every_minute_convicts_nobody(database: Database) -> None:
    """Its one slow receiver runs alone whenever it is killed, and is never a dead letter."""

    def minute(connection: Connection, number: int) -> int:
        born_ms = 60_000 * number
        one = Process(connection, born_ms)
        for after_ms in (1, 20_000, 40_000):
            one.claim(born_ms + after_ms)
        found_dead(connection, born_ms + 59_999)
        return stored(connection, "plugin:slow").deaths

    await database.write("test", lambda c: hears(c, receivers=["plugin:slow"]))
    deaths = [await database.write("test", partial(minute, number=number)) for number in range(60)]
    assert max(deaths) == 1
    assert (await database.read(lambda c: stored(c, "plugin:slow"))).attempts > 10  # it is tried on


async def test_a_process_that_was_asked_to_stop_blames_nobody(database: Database) -> None:
    """It was killed since it took too long."""

    def story(connection: Connection) -> None:
        hears(connection, receivers=["plugin:deadly"])
        Process(connection, 0).claim(1000)
        found_dead(connection, 2000)
        second = Process(connection, 2000)
        assert second.claim(3000) == ["plugin:deadly"]
        suspects.clear(connection, second.name)
        found_dead(connection, 4000)
        assert stored(connection, "plugin:deadly").deaths == 0

    await database.write("test", story)


@pytest.mark.parametrize(
    ("ending", "is_suspected"),
    [
        (Ended(state="done"), False),
        (Ended(state="waiting"), False),  # it failed: that ends no process
        (Ended(state="waiting", excused=True), True),  # it has not run at all
    ],
)
async def test_a_run_that_ends_lifts_the_suspicion(
    database: Database, ending: Ended, is_suspected: bool
) -> None:
    """Charges too."""

    def story(connection: Connection) -> None:
        now_ms = stored_at = charged(connection, 2)
        later_ms = stored_at + LONGEST_PAUSE_MS
        one = Process(connection, now_ms)
        while one.claim(later_ms) != ["plugin:deadly"]:
            one.end("plugin:innocent", later_ms)
        one.end("plugin:deadly", later_ms, ending)
        found = stored(connection, "plugin:deadly")
        assert (found.suspected, found.deaths) == (is_suspected, 2 if is_suspected else 0)

    await database.write("test", story)


async def test_a_convict_that_a_person_has_run_again_runs_alone(database: Database) -> None:
    """With all its charges to go."""

    def story(connection: Connection) -> None:
        now_ms = charged(connection, MOST_DEATHS) + LONGEST_PAUSE_MS
        one = Process(connection, now_ms)
        while one.claim(now_ms) != ["plugin:deadly"]:
            one.end("plugin:innocent", now_ms)
        one.end("plugin:deadly", now_ms, Ended(state="dead", excused=True))
        dead_deliveries.retry(connection, [stored(connection, "plugin:deadly").id], now_ms)
        found = stored(connection, "plugin:deadly")
        assert (found.state, found.deaths, found.suspected, found.tries) == ("waiting", 0, True, 0)

    await database.write("test", story)
