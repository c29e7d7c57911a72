"""What is known of many tickets at once is what is known of each, and is read by as many statements as that of a few."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.records import Provenance, Ticket
from storage.tasks import sql
from storage.tickets.known import Known, known
from tests.support import many_rows
from tests.support.many_rows import NOW_MS, TASKS
from tests.support.plans import recorded

pytestmark = pytest.mark.xdist_group("many_rows")

FIRST = 1_000_001


def ticket(number: int, upstream: str) -> Ticket:
    """The order of a task that the database has."""
    name = number + FIRST - 1
    return Ticket(
        id=f"{name:016d}",
        client="ann",
        kind="imagine",
        upstream=upstream,
        submission_id=f"s{name}",
        created_at_ms=0,
    )


def orders(connection: Connection) -> list[Ticket]:
    """Orders of all kinds of tasks: ended, running, failed, of two accounts, with answers only, a window, and unknown ones."""
    numbers = [*range(1, 60), *range(TASKS - 140, TASKS + 3), 335]
    rows = [ticket(number, "other" if ((number - 1) // 5 + 1) % 10 == 3 else "main") for number in numbers]
    window = Ticket(id="9", client="ann", kind="window", upstream="main", is_window=True, created_at_ms=0)
    from_before = Ticket(id="8", client="ann", kind="", upstream="main", task_id="t1000010", created_at_ms=0)
    by_alias = Ticket(id="7", client="ann", kind="", upstream="main", task_id="another", created_at_ms=0)
    sql.ADD_ALIAS(connection, upstream="main", id="another", task_id="t1000001")
    sql.DROP_TASK(connection, upstream="main", id="t1000007")  # it was rejected
    return [*rows, window, from_before, by_alias]


def test_many_are_known_as_each_is(large: Connection) -> None:
    wanted = orders(large)
    together = known(large, wanted, NOW_MS)
    assert [seen.ticket for seen in together] == wanted
    assert together == [one for order in wanted for one in known(large, [order], NOW_MS)]
    assert {kind_of(seen) for seen in together} == {"an ended task", "a running task", "an answer", "nothing"}
    assert together[-1].task == together[0].task


def kind_of(seen: Known) -> str:
    if not seen.payload:
        return "an answer" if seen.answer else "nothing"
    return (
        "an ended task"
        if seen.task is not None and seen.task.finished_at_ms is not None
        else "a running task"
    )


def test_an_ended_task_is_shown_as_the_upstream_vouches_for_it(large: Connection) -> None:
    """Also if a callback tells something else afterwards; a running task is shown as the newest news tell."""
    ended, running = ticket(1, "main"), ticket(TASKS - 1, "main")
    told: list[tuple[Provenance, bytes]] = [
        ("confirmed", b'{"by":"upstream"}'),
        ("callback", b'{"by":"callback"}'),
    ]
    for provenance, payload in told:
        for order in (ended, running):
            event_log.append(large, news(order, provenance, payload))
    assert [seen.payload for seen in known(large, [ended, running], NOW_MS)] == [
        b'{"by":"upstream"}',
        b'{"by":"callback"}',
    ]


def news(order: Ticket, provenance: Provenance, payload: bytes) -> NewEvent:
    return NewEvent(
        upstream="main",
        task_id=order.submission_id.replace("s", "t"),
        submission_id="",
        source="callback",
        signal=None,
        action="",
        status="",
        progress=None,
        advanced=True,
        pending=False,
        detail="",
        payload=payload,
        received_at_ms=NOW_MS,
        provenance=provenance,
    )


def test_the_number_of_statements_does_not_grow(large: Connection) -> None:
    wanted = orders(large)
    counts = []
    for some in (wanted[:60], wanted):
        with recorded(large) as plans:
            known(large, some, NOW_MS)
        counts.append(len(plans))
        assert not [
            plan.statement for plan in plans if plan.rows_read > 40 * len(some) + many_rows.LOOPED_EVENTS
        ]
    assert max(counts) <= 12
