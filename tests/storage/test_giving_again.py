"""An event that is given to one of its receivers again: to nobody else, once, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.deliveries.giving_again import give_again
from storage.engine import Database
from storage.events import event_log
from storage.records import ClaimedDelivery, is_for_one, origin_of

BOTH = ["rule:a", "rule:a/forward"]


def fan_out(connection: Connection, now_ms: int) -> int:
    return delivery_queue.fan_out(connection, lambda _event: BOTH, 100, now_ms)


def claimed(connection: Connection, now_ms: int) -> list[ClaimedDelivery]:
    return delivery_queue.claim(connection, 64, now_ms, room=lambda _name: 16)


def ended(connection: Connection) -> int:
    """An event whose deliveries are done; its id."""
    fact = event_log.fact(
        upstream="main", signal="task.succeeded", source="callback", task_id="grid", now_ms=1000
    )
    event_log.append(connection, fact)
    fan_out(connection, 1000)
    for one in claimed(connection, 2000):
        endings.end(
            connection,
            one,
            Ended(state="done", decision="did", fired=True),
            refuse=lambda *_: "",
            now_ms=2000,
        )
    return one.event.id


@pytest.mark.parametrize("force", [False, True])
async def test_one_receiver_gets_it(database: Database, force: bool) -> None:
    """A fan-out afterwards gives it to no other. Of which event it is a replay is known, whether or not its submissions are made again."""

    def story(connection: Connection) -> None:
        first = ended(connection)
        made = give_again(connection, first, "rule:a/forward", force=force, now_ms=3000)
        assert made is not None
        assert fan_out(connection, 4000) == 0
        (again,) = claimed(connection, 5000)
        assert (again.delivery.receiver, again.event.id) == ("rule:a/forward", made[1])
        assert is_for_one(again.event)
        assert origin_of(again.event) == (made[1] if force else first)
        assert (again.event.generation > 0) is force
        twice = give_again(connection, made[1], "rule:a/forward", force=False, now_ms=6000)
        assert twice is not None
        assert claimed(connection, 7000) == []  # the one before it in its lane is still running
        endings.end(connection, again, Ended(state="done", decision="did"), refuse=lambda *_: "", now_ms=8000)
        (third,) = claimed(connection, 9000)
        assert origin_of(third.event) == origin_of(again.event)

    await database.write("test", story)


async def test_who_did_not_get_it_is_refused(database: Database) -> None:
    """Nothing is left of the attempt; the message names those that got it."""
    first = await database.write("test", ended)
    with pytest.raises(ValueError, match="it was given to: rule:a, rule:a/forward"):
        await database.write("test", lambda on: give_again(on, first, "rule:b", force=False, now_ms=3000))

    def nothing_is_left(connection: Connection) -> None:
        assert give_again(connection, first + 99, "rule:a", force=False, now_ms=3000) is None
        assert fan_out(connection, 4000) == 0
        assert claimed(connection, 5000) == []

    await database.write("test", nothing_is_left)
