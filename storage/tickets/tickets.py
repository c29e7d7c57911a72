"""The rows of tickets: made once for each order, found again when a client repeats it, and ended once."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Connection

from storage.driver import locks
from storage.records import Ticket
from storage.tickets import sql

REPEATED_WITHIN_MS = 120_000
"""For so long an order that was not answered is recognised when the client sends it again."""

TRIES = 50
"""How many ids are tried. A millisecond has a thousand, and later milliseconds follow."""


class IdsUsedUp(Exception):
    """No free id was found: more tickets than ids were made in these milliseconds."""


def one_at_a_time(connection: Connection, client: str) -> None:
    """Let no other process take an order of this client until the transaction ends: each must see the ones before it."""
    locks.client(connection, client)


def hold_submission(connection: Connection, submission_id: str) -> None:
    """Let no answer to a submission be settled until the transaction ends, so that a ticket that joins it misses nothing: the answer is
    there already, or its event will find the ticket."""
    locks.submissions(connection, [submission_id])


def add(connection: Connection, ticket: Ticket, upstreams: Collection[str]) -> Ticket:
    """Store a ticket under a new id, unique among tickets and the tasks of these upstreams; returns it. Raises `IdsUsedUp`."""
    values = msgspec.structs.asdict(ticket)
    for number in range(TRIES):
        ticket_id = f"{ticket.created_at_ms + number // 5:013d}{secrets.randbelow(1000):03d}"
        if sql.TASK_WITH_ID.first(connection, upstreams=list(upstreams), id=ticket_id):
            continue
        if sql.ADD.first(connection, **values | {"id": ticket_id}):
            return msgspec.structs.replace(ticket, id=ticket_id)
    raise IdsUsedUp(f"no free ticket id after {TRIES} tries")


def find(connection: Connection, client: str, ids: Collection[str]) -> dict[str, Ticket]:
    """The tickets of a client among these ids, by id. Another client's are unknown."""
    return {ticket.id: ticket for ticket in sql.TICKETS.all(connection, client=client, ids=list(ids))}


def present(connection: Connection, ids: Collection[str]) -> dict[str, Ticket]:
    """These tickets, of any client, as they are now, by id."""
    return {ticket.id: ticket for ticket in sql.AMONG.all(connection, ids=list(ids))} if ids else {}


def decidable(connection: Connection, ids: Collection[str], now_ms: int) -> list[Ticket]:
    """The ones of these tickets whose submissions have an answer, have failed once, or wait for an upstream to which nothing is
    sent now (`moves.stopped`)."""
    return sql.DECIDABLE.all(connection, ids=list(ids), now_ms=now_ms) if ids else []


def by_id(connection: Connection, ticket_id: str) -> Ticket | None:
    """One ticket of any client, or None."""
    return sql.TICKET.first(connection, id=ticket_id)


def exists(connection: Connection, ticket_id: str) -> bool:
    """True if any client has a ticket with this id."""
    return sql.TICKET.first(connection, id=ticket_id) is not None


def held(connection: Connection, client: str, ticket_id: str) -> Ticket | None:
    """One ticket of a client, locked until the transaction ends, or None."""
    return sql.HOLD.first(connection, client=client, id=ticket_id)


def of_key(connection: Connection, client: str, key: str) -> Ticket | None:
    """The ticket that a client ordered with this Idempotency-Key, or None."""
    return sql.OF_KEY.first(connection, client=client, key=key)


def unanswered(connection: Connection, client: str, digest: str, now_ms: int) -> Ticket | None:
    """The newest ticket of the same order whose answer the client has not got, or None."""
    return sql.UNANSWERED.first(
        connection, client=client, digest=digest, since_ms=now_ms - REPEATED_WITHIN_MS
    )


def of_button(
    connection: Connection, client: str, upstream: str, parent_id: str, custom_id: str
) -> Sequence[Ticket]:
    """What a client ordered by this button of a task, the oldest first."""
    return sql.OF_BUTTON.all(
        connection, client=client, upstream=upstream, parent_id=parent_id, custom_id=custom_id
    )


def mark_answered(connection: Connection, ids: Sequence[str], now_ms: int) -> None:
    """Record that the answers to these orders were written."""
    sql.ANSWERED(connection, ids=list(ids), now_ms=now_ms)


def key_of_window(upstream: str, ticket_id: str) -> str:
    """The idempotency key of the press by which a window of the gateway's own is opened at the upstream, once its client has answered."""
    return f"{upstream}|window|{ticket_id}|0"


def open_window(connection: Connection, ticket_id: str) -> bool:
    """Let a ticket wait for the client's answer to a window; False if it has ended."""
    return sql.TO_WINDOW(connection, id=ticket_id) == 1


def answer_window(connection: Connection, ticket_id: str, *, submission_id: str, answer: bytes) -> bool:
    """Record the client's answer to a window and the submission that carries it; False if it has one."""
    return sql.ANSWER_WINDOW(connection, id=ticket_id, submission_id=submission_id, answer=answer) == 1


def end(connection: Connection, ids: Sequence[str], now_ms: int, *, fail_reason: str = "") -> int:
    """End tickets; returns how many had not ended. `fail_reason`: why, if not the upstream ended them."""
    return sql.END(connection, ids=list(ids), now_ms=now_ms, fail_reason=fail_reason)


def set_told(connection: Connection, ticket_id: str, status: str, progress: int) -> None:
    """Record the last that a ticket's hook was told."""
    sql.TELL(connection, id=ticket_id, status=status, progress=progress)


def tie(connection: Connection, submission_id: str, upstream: str, task_id: str) -> None:
    """Record the task of the tickets of a submission."""
    sql.TIE(connection, submission_id=submission_id, upstream=upstream, task_id=task_id)


def belongs_to_another(
    connection: Connection, client: str, upstream: str, task_id: str, submission_id: str | None
) -> bool:
    """True if a task lies behind a ticket of another client, or in a chain that another client began, and behind no ticket of this
    client."""
    owners = set(sql.OWNERS.all(connection, task_id=task_id, upstream=upstream))
    if submission_id:
        owners |= set(sql.OWNERS_OF_SUBMISSION.all(connection, submission_id=submission_id))
    if client in owners:
        return False
    began = sql.BEGAN_BY.first(connection, upstream=upstream, task_id=task_id) or client
    return bool(owners) or began != client


def count_since(connection: Connection, client: str, since_ms: int) -> int:
    """How many tickets a client got since a time."""
    return sql.COUNT_SINCE.one(connection, client=client, since_ms=since_ms)


def count_open(connection: Connection, client: str) -> int:
    """How many tickets of a client have not ended."""
    return sql.COUNT_OPEN.one(connection, client=client)


NEWER_THAN_ALL_MS = 2**62


def newest(connection: Connection, client: str, most: int) -> list[Ticket]:
    """The newest tickets of a client, the newest first."""
    return sql.NEWEST.all(connection, client=client, before_ms=NEWER_THAN_ALL_MS, before_id="", most=most)


def open_of(connection: Connection, client: str, most: int) -> list[Ticket]:
    """The tickets of a client that have not ended, the oldest first."""
    return sql.OPEN.all(connection, client=client, most=most)


def open_after(connection: Connection, after: Ticket | None, before_ms: int, most: int) -> list[Ticket]:
    """Tickets of all clients that have not ended and were made before a time, the oldest first. `after`: the last one of those that
    were read before."""
    after_ms, after_id = (after.created_at_ms, after.id) if after is not None else (0, "")
    return sql.OPEN_AFTER.all(
        connection, after_ms=after_ms, after_id=after_id, before_ms=before_ms, most=most
    )


def drop_old(connection: Connection, before_ms: int, most: int) -> int:
    """Drop up to `most` tickets that ended before a time; returns their number."""
    return len(sql.DROP_OLD.all(connection, before_ms=before_ms, most=most))
