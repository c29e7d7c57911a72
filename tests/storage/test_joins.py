"""Joins, mark by mark: what is waited for, what is not, and what becomes of a mark."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from midjourney.decode import decode_task
from storage import ended_chains, schema
from storage.deliveries import delivery_queue, endings
from storage.engine import write_engine
from storage.events import event_log
from storage.ingest import ingest
from storage.joins import looking
from storage.pruning import Cursor
from storage.records import CHILDREN_DONE, JOINED, JOINS, RESTED, Incoming
from storage.submissions import settlements, submission_queue
from storage.tickets.audience import Audience, audiences
from storage.upstreams import restores, standings
from tests.support.staged import stage, wanted

WANTED = JOINED | JOINS


def may_request(receiver: str) -> bool:
    return receiver == "rule:r"


def end_task(connection: Connection, task_id: str, status: str, now_ms: int, submission_id: str = "") -> None:
    """A callback of an upstream that is trusted."""
    body = {"id": task_id, "status": status, "action": "UPSCALE", "progress": "100%"}
    incoming = Incoming(
        upstream="main",
        task=decode_task(json.dumps(body).encode()),
        submission_id=submission_id,
        source="callback",
        received_at_ms=now_ms,
    )
    ingest(connection, [incoming], WANTED, trusted=("main",))


@contextlib.contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction."""
    engine = write_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def a_finished_chain(connection: Connection, now_ms: int = 1_000, client: str = "") -> str:
    """A prompt that was accepted and has succeeded, fanned out; its chain."""
    made = stage(connection, wanted("root", client=client), now_ms)
    (begun,) = submission_queue.begin_attempts(connection, "main", 1, now_ms)
    settlement = settlements.Settlement(
        state="accepted", outcome="", reason="", task_ids=("grid",), signal="submission.accepted"
    )
    settlements.settle_attempt(connection, begun, settlement, now_ms)
    end_task(connection, "grid", "SUCCESS", now_ms)
    delivery_queue.fan_out(connection, lambda _event: [], 200, now_ms, joins=JOINS)
    return made.chain_id


def look(connection: Connection, now_ms: int = 2_000) -> int | None:
    return looking.look(connection, JOINS, may_request, now_ms)


def test_a_restored_copy_gives_nothing_before_it_knows_what_it_lacks(database_url: str) -> None:
    """Presses of the lost time may still run. Once the upstream's check has ended, the signal comes."""
    with connected(database_url) as connection:
        standings.add(connection, ["main"])
        a_finished_chain(connection)
        restores.start_check(connection, "main", 3, 1_000)
        assert look(connection) == 0
        standings.resume(connection, "main", 3_000)
        assert restores.drop_if_resumed(connection, "main")
        assert look(connection, 10_000) == 1
        assert look(connection, 20_000) == 0


def test_marks_go_with_their_chain(database_url: str) -> None:
    """A chain that was pruned leaves nothing to look at."""
    with connected(database_url) as connection:
        chain_id = a_finished_chain(connection)
        marks = select(func.count()).select_from(schema.joins)
        assert connection.execute(marks).scalar_one() == 1
        _, found = ended_chains.find(connection, Cursor(), 5_000, 10)
        assert found == [chain_id]
        ended_chains.drop(connection, found, 5_000, 100)
        assert connection.execute(marks).scalar_one() == 0


def test_a_mark_of_a_signal_that_nobody_wants_waits(database_url: str) -> None:
    """It is neither given nor in the way of others."""
    with connected(database_url) as connection:
        a_finished_chain(connection)
        assert looking.look(connection, {CHILDREN_DONE}, may_request, 2_000) == 0
        assert looking.look(connection, (), may_request, 2_000) == 0
        assert looking.look(connection, {RESTED}, may_request, 2_000) == 1


def test_a_look_in_vain_is_repeated_later_each_time(database_url: str) -> None:
    """Half a second, one, two … a minute; and at once when a delivery of the chain has ended."""
    with connected(database_url) as connection:
        chain_id = a_finished_chain(connection)
        stage(connection, wanted("more", chain_id=chain_id), 1_000)
        at = select(schema.joins.c.look_at_ms)
        waits = []
        now_ms = 2_000
        for _ in range(9):
            assert looking.look(connection, {RESTED}, may_request, now_ms) == 0
            waits.append(connection.execute(at).scalar_one() - now_ms)
            now_ms += waits[-1]
        assert waits == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        looking.look(connection, {RESTED}, may_request, now_ms - 1)
        assert connection.execute(at).scalar_one() == now_ms
        looking.look(connection, {RESTED}, may_request, now_ms - 1, at_once=[chain_id])
        assert connection.execute(at).scalar_one() == now_ms - 1 + 60_000


def test_a_receiver_that_has_not_heard_of_the_last_rest_delays_no_rest(database_url: str) -> None:
    """It is tried again for an hour; meanwhile a person presses once more, and that ends too."""
    with connected(database_url) as connection:
        chain_id = a_finished_chain(connection)
        assert look(connection) == 1
        delivery_queue.fan_out(connection, lambda _event: ["rule:r"], 200, 2_000, joins=JOINS)
        stage(connection, wanted("more", chain_id=chain_id), 3_000)
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 3_000)
        settlement = settlements.Settlement(
            state="rejected", outcome="", reason="", signal="submission.rejected"
        )
        settlements.settle_attempt(connection, begun, settlement, 3_000)
        assert look(connection, 4_000) == 0
        delivery_queue.fan_out(connection, lambda _event: [], 200, 4_000, joins=JOINS)
        assert look(connection, 5_000) == 1


def press_and_end(connection: Connection, chain_id: str, now_ms: int, task_id: str = "more") -> None:
    """A person's second prompt in the chain, which ends at once; nothing is fanned out yet."""
    stage(connection, wanted(task_id, chain_id=chain_id), now_ms)
    (begun,) = submission_queue.begin_attempts(connection, "main", 1, now_ms)
    settlement = settlements.Settlement(
        state="accepted", outcome="", reason="", task_ids=(task_id,), signal="submission.accepted"
    )
    settlements.settle_attempt(connection, begun, settlement, now_ms)
    end_task(connection, task_id, "SUCCESS", now_ms)


def test_an_event_that_is_not_fanned_out_is_waited_for(database_url: str) -> None:
    """Its receivers may request more."""
    with connected(database_url) as connection:
        chain_id = a_finished_chain(connection)
        press_and_end(connection, chain_id, 1_500)
        assert look(connection) == 0
        delivery_queue.fan_out(connection, lambda _event: [], 200, 3_000, joins=JOINS)
        assert look(connection, 4_000) == 1


def test_the_same_ends_give_one_signal(database_url: str) -> None:
    """The signal of an end comes once more, because its buttons came late: nothing else has changed."""
    with connected(database_url) as connection:
        a_finished_chain(connection)
        assert look(connection) == 1
        late = event_log.fact(
            upstream="main", task_id="grid", signal="task.succeeded", source="reconcile", now_ms=3_000
        )
        event_log.append(connection, late)
        delivery_queue.fan_out(connection, lambda _event: [], 200, 3_000, joins=JOINS)
        marked = select(func.count()).select_from(schema.joins).where(schema.joins.c.look_at_ms.is_not(None))
        assert connection.execute(marked).scalar_one() == 1
        assert look(connection, 4_000) == 0
        assert connection.execute(marked).scalar_one() == 0


def test_what_follows_from_a_rest_marks_nothing(database_url: str) -> None:
    """Neither its answer nor its end."""
    with connected(database_url) as connection:
        chain_id = a_finished_chain(connection)
        assert look(connection) == 1
        delivery_queue.fan_out(connection, lambda _event: ["rule:r"], 200, 2_000, joins=JOINS)
        (claimed,) = delivery_queue.claim(connection, 1, 3_000, room=lambda _name: 9)
        staged = wanted("echo", chain_id=chain_id, asked_by="rule:r")
        ending = endings.Ended(state="done", staged=(staged,))
        endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=3_000)
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 3_000)
        settlement = settlements.Settlement(
            state="accepted", outcome="", reason="", task_ids=("echo",), signal="submission.accepted"
        )
        settlements.settle_attempt(connection, begun, settlement, 3_000)
        end_task(connection, "echo", "SUCCESS", 3_000)
        delivery_queue.fan_out(connection, lambda _event: [], 200, 3_000, joins=JOINS)
        assert look(connection, 4_000) == 0
        press_and_end(connection, chain_id, 5_000)
        delivery_queue.fan_out(connection, lambda _event: [], 200, 5_000, joins=JOINS)
        assert look(connection, 6_000) == 1


def test_the_rest_of_a_clients_chain_is_for_the_rules_that_it_wants(database_url: str) -> None:
    """The gateway learns whose chain it is, and calls no hook."""
    with connected(database_url) as connection:
        a_finished_chain(connection, client="ann")
        assert look(connection) == 1
        waiting = event_log.pending(connection, 10)
        assert [event.signal for event in waiting] == [RESTED]
        found = audiences(connection, waiting, 3_000)
        assert list(found.values()) == [Audience("ann")]
