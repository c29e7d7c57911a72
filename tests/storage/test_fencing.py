"""The numbers of attempts only grow, whatever a person does: a late end of an earlier attempt changes nothing."""

from __future__ import annotations

import pytest

from storage.deliveries import dead_deliveries, delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.engine import Connection, Database
from storage.errors import LeaseLost
from storage.events import event_log, replay
from storage.records import ClaimedDelivery, Submission
from storage.submissions import dead_submissions, settlements, submission_queue
from storage.submissions.settlements import Settlement
from tests.support import buried
from tests.support.staged import stage, wanted


def claim(connection: Connection) -> ClaimedDelivery:
    (claimed,) = delivery_queue.claim(connection, 1, 10, room=lambda _name: 1)
    return claimed


def finish(connection: Connection, claimed: ClaimedDelivery, ending: Ended) -> None:
    endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=20)


async def test_a_frozen_workers_end_is_not_that_of_a_delivery_tried_again_by_hand(database: Database) -> None:
    """It froze in the first attempt, which failed elsewhere and for good; a person had it run again."""

    def buried_and_retried(connection: Connection) -> ClaimedDelivery:
        event_log.append(
            connection,
            event_log.fact(
                upstream="main", signal="task.succeeded", source="internal", task_id="grid", now_ms=1
            ),
        )
        delivery_queue.fan_out(connection, lambda _event: ["plugin:a"], 100, 1)
        frozen = claim(connection)
        finish(connection, frozen, Ended(state="dead", error="Traceback"))
        assert dead_deliveries.retry(connection, [frozen.delivery.id], 5) == 1
        return frozen

    frozen = await database.write("test", buried_and_retried)
    again = await database.write("test", claim)
    assert (again.delivery.attempts, again.delivery.tries) == (2, 1)  # with all its attempts
    late = Ended(state="done", staged=(wanted("asked for by the frozen one"),))
    with pytest.raises(LeaseLost):
        await database.write("test", lambda c: finish(c, frozen, late))
    in_time = Ended(state="done", staged=(wanted("asked for by the new one"),))
    await database.write("test", lambda c: finish(c, again, in_time))
    staged = await database.read(lambda c: submission_queue.in_state(c, "waiting", most=9))
    assert [one.idempotency_key for one in staged] == ["asked for by the new one"]


async def test_a_delivery_tried_again_twice_has_all_its_attempts_each_time(database: Database) -> None:
    """What counts is what came after the last time; the number goes on."""

    def twice(connection: Connection) -> list[tuple[int, int]]:
        key = int(buried.delivery(connection, "plugin:a", 3).removeprefix("delivery-"))
        found = []
        for _ in range(2):
            dead_deliveries.retry(connection, [key], 5)
            claimed = claim(connection)
            found.append((claimed.delivery.attempts, claimed.delivery.tries))
            finish(connection, claimed, Ended(state="waiting", excused=True))
            claimed = claim(connection)
            found.append((claimed.delivery.attempts, claimed.delivery.tries))
            finish(connection, claimed, Ended(state="dead"))
        return found

    assert await database.write("test", twice) == [(2, 1), (3, 1), (4, 1), (5, 1)]


async def test_a_frozen_workers_answer_is_not_that_of_a_submission_tried_again_by_hand(
    database: Database,
) -> None:
    """The refusal of the first attempt, read late, does not end the second one."""

    def begin(connection: Connection) -> Submission:
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 20)
        return begun

    def retried(connection: Connection) -> Submission:
        stage(connection, wanted("k"))
        frozen = begin(connection)
        refused = Settlement(state="dead", outcome="rejected:auth", reason="HTTP 401")
        settlements.settle_attempt(connection, frozen, refused, 11)
        assert dead_submissions.retry(connection, [frozen.id], 12) == 1
        return frozen

    frozen = await database.write("test", retried)
    again = await database.write("test", begin)
    assert (again.attempts, again.tries) == (2, 1)
    refused = Settlement(state="dead", outcome="rejected:auth", reason="HTTP 401")
    with pytest.raises(LeaseLost):
        await database.write("test", lambda c: settlements.settle_attempt(c, frozen, refused, 13))


async def test_each_forced_replay_asks_for_something_new(database: Database) -> None:
    """Also two in one millisecond, and one after the clock was put back: else the second would ask for what there is."""

    def forced(connection: Connection) -> list[int]:
        event_log.append(
            connection,
            event_log.fact(
                upstream="main", signal="task.succeeded", source="internal", task_id="grid", now_ms=1
            ),
        )
        (event,) = event_log.pending(connection, 1)
        found = []
        for now_ms in (1000, 1000, 500):
            made = replay.replay(connection, event.id, force=True, now_ms=now_ms)
            assert made is not None
            again = replay.replay(connection, made[1], force=False, now_ms=now_ms)
            assert again is not None
            found.append(again[0].generation)
        return found

    generations = await database.write("test", forced)
    assert len(set(generations)) == 3, generations
