"""A SUCCESS that is reported again: each receiver acts on it once, whatever the delivery of the first report came to meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.engine import Database
from storage.events import event_log
from storage.records import ClaimedDelivery, Source
from storage.tasks import unverified

REFUTED = Ended(state="done", decision="refuted", refuted="the upstream calls it IMAGINE")
DID_NOT_FIRE = Ended(state="done", decision="did not fire")
FIRED = Ended(state="done", decision="asked for action U1", fired=True)
FAILED = Ended(state="dead", decision="failed 5 times")


def reported(connection: Connection, source: Source, now_ms: int) -> None:
    event_log.append(
        connection,
        event_log.fact(
            upstream="main", signal="task.succeeded", source=source, task_id="grid", now_ms=now_ms
        ),
    )
    delivery_queue.fan_out(connection, lambda _event: ["rule:upscale-all"], 100, now_ms)


def claimed(connection: Connection, now_ms: int) -> ClaimedDelivery:
    (one,) = delivery_queue.claim(connection, 64, now_ms, room=lambda _name: 16)
    return one


def end(connection: Connection, one: ClaimedDelivery, ending: Ended, now_ms: int) -> None:
    endings.end(connection, one, ending, refuse=lambda *_: "", now_ms=now_ms)


@pytest.mark.parametrize(
    ("ending", "has_acted"),
    [(REFUTED, False), (DID_NOT_FIRE, False), (FIRED, True), (FAILED, True)],
    ids=["refuted", "did not fire", "fired", "failed for good"],
)
@pytest.mark.parametrize("is_running", [True, False], ids=["still running", "ended"])
async def test_the_end_of_the_first_report_decides_about_the_second(
    database: Database, ending: Ended, has_acted: bool, is_running: bool
) -> None:
    """Also when the second report comes while the delivery of the first is running: a forged SUCCESS is being verified, or a
    rule looks at a grid whose buttons are not there yet."""

    def story(connection: Connection) -> None:
        reported(connection, "callback", 1000)
        first = claimed(connection, 2000)
        if is_running:
            reported(connection, "reconcile", 3000)
            end(connection, first, ending, 4000)
        else:
            end(connection, first, ending, 3000)
            reported(connection, "reconcile", 4000)
        assert claimed(connection, 5000).has_acted is has_acted

    await database.write("test", story)


async def test_a_failure_on_a_refuted_report_does_not_count(database: Database) -> None:
    """The receiver failed at the forger's word; the upstream's own report is another."""

    def story(connection: Connection) -> None:
        reported(connection, "callback", 1000)
        first = claimed(connection, 2000)
        unverified.refute_event(connection, first.event, "the upstream calls it IMAGINE", 2500)
        reported(connection, "reconcile", 3000)
        end(connection, first, FAILED, 4000)
        assert not claimed(connection, 5000).has_acted

    await database.write("test", story)
