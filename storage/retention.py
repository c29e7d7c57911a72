"""What may go, in small bites: progress of tasks that have ended, and whole chains that nothing will happen to.

What was paid for stays known: the idempotency keys of what goes are kept for ever (table `spent`), so that a callback
that comes a year late presses nothing again. Dead letters, refused and uncertain submissions hold their chain back, and
quarantine is not touched: they stay until a person has handled them.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, or_, select

from storage import locks, schema
from storage import tasks as task_rows
from storage.locks import many_writers
from storage.prepared import Prepared

events, tasks, chains = schema.events, schema.tasks, schema.chains
submissions, attempts, deliveries = schema.submissions, schema.attempts, schema.deliveries

_SETTLED = ("accepted", "existed", "rejected", "needs_modal")
"""States in which a submission may go with its chain. A window that nobody answered in all that time is closed."""


class Cursor(msgspec.Struct, frozen=True):
    """How far a pass has come: age and id of the last one looked at. A pass begins at the default."""

    age_ms: int = -1
    id: str = ""


_progress = Prepared(
    select(events.c.id, events.c.signal, events.c.source, events.c.advanced, tasks.c.finished_at_ms)
    .select_from(
        events.outerjoin(tasks, and_(tasks.c.upstream == events.c.upstream, tasks.c.id == events.c.task_id))
    )
    .where(events.c.id > bindparam("after"), events.c.received_at_ms < bindparam("before_ms"))
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
_matters = exists().where(
    deliveries.c.event_id == events.c.id, or_(deliveries.c.state != "done", deliveries.c.fired)
)
_of_no_matter = Prepared(
    select(events.c.id).where(events.c.id.in_(bindparam("ids", expanding=True)), ~events.c.pending, ~_matters)
)
_drop_deliveries = Prepared(
    delete(deliveries).where(deliveries.c.event_id.in_(bindparam("ids", expanding=True)))
)
_drop_events = Prepared(delete(events).where(events.c.id.in_(bindparam("ids", expanding=True))))


def thin(connection: Connection, after: int, before_ms: int, most: int) -> tuple[int, int]:
    """Drop what only said how far a task was that has ended: the last event looked at (`after` at the end), and how many went.

    Stays: the first and the last word about a task, answers, and whatever made a rule fire or waits for a receiver.
    """
    rows = _progress(connection, after=after, before_ms=before_ms, most=most).all()
    idle = [
        row.id
        for row in rows
        if row.finished_at_ms is not None
        and row.source in ("callback", "reconcile")
        and (row.signal == "task.progressed" or not row.advanced)
    ]
    gone = [row.id for row in _of_no_matter(connection, ids=idle)] if idle else []
    _drop(connection, gone)
    return (rows[-1].id if rows else after), len(gone)


_old_chains = Prepared(
    select(chains.c.id, chains.c.created_at_ms)
    .where(
        chains.c.created_at_ms < bindparam("before_ms"),
        or_(
            chains.c.created_at_ms > bindparam("age_ms"),
            and_(chains.c.created_at_ms == bindparam("age_ms"), chains.c.id > bindparam("after")),
        ),
    )
    .order_by(chains.c.created_at_ms, chains.c.id)
    .limit(bindparam("most"))
)
_alive = Prepared(
    select(tasks.c.id)
    .where(tasks.c.chain_id == bindparam("chain"), tasks.c.updated_at_ms >= bindparam("before_ms"))
    .limit(1)
)
_unsettled = Prepared(
    select(submissions.c.id)
    .where(
        submissions.c.chain_id == bindparam("chain"),
        or_(
            submissions.c.state.not_in(bindparam("settled", expanding=True)),
            submissions.c.updated_at_ms >= bindparam("before_ms"),
        ),
    )
    .limit(1)
)
_undelivered = Prepared(
    select(deliveries.c.id)
    .where(deliveries.c.event_id.in_(bindparam("ids", expanding=True)), deliveries.c.state != "done")
    .limit(1)
)
_of_tasks = Prepared(
    select(events.c.id)
    .join(tasks, and_(tasks.c.upstream == events.c.upstream, tasks.c.id == events.c.task_id))
    .where(tasks.c.chain_id == bindparam("chain"))
)
_of_submissions = Prepared(
    select(events.c.id)
    .join(submissions, submissions.c.id == events.c.submission_id)
    .where(submissions.c.chain_id == bindparam("chain"))
)


def drop_chains(
    connection: Connection, cursor: Cursor, before_ms: int, most: int
) -> tuple[Cursor | None, int]:
    """Drop, of the next few chains, those that have ended before: where to go on (None at the end), and how many went."""
    rows = _old_chains(
        connection, before_ms=before_ms, age_ms=cursor.age_ms, after=cursor.id, most=most
    ).all()
    gone = sum(_drop_chain(connection, row.id, before_ms) for row in rows)
    return (Cursor(rows[-1].created_at_ms, rows[-1].id) if rows else None), gone


_keep_keys = Prepared(
    insert(schema.spent).from_select(
        ["idempotency_key", "submission_id"],
        select(submissions.c.idempotency_key, submissions.c.id).where(
            submissions.c.chain_id == bindparam("chain")
        ),
    )
)
_drop_attempts = Prepared(
    delete(attempts).where(
        attempts.c.submission_id.in_(
            select(submissions.c.id).where(submissions.c.chain_id == bindparam("chain"))
        )
    )
)
_drop_submissions = Prepared(delete(submissions).where(submissions.c.chain_id == bindparam("chain")))
_drop_tasks = Prepared(delete(tasks).where(tasks.c.chain_id == bindparam("chain")))
_drop_row = Prepared(delete(chains).where(chains.c.id == bindparam("chain")))
_task_ids = Prepared(select(tasks.c.upstream, tasks.c.id).where(tasks.c.chain_id == bindparam("chain")))
_drop_firings = Prepared(
    delete(schema.firings).where(schema.firings.c.scope.in_(bindparam("scopes", expanding=True)))
)


_hold_tasks = Prepared(
    select(tasks.c.id)
    .where(tasks.c.chain_id == bindparam("chain"))
    .order_by(tasks.c.upstream, tasks.c.id)
    .with_for_update()
)


def _drop_chain(connection: Connection, chain_id: str, before_ms: int) -> bool:
    locks.chain(connection, chain_id)
    if many_writers(connection):  # a callback that is being kept just now is seen by what follows
        _hold_tasks(connection, chain=chain_id).all()
    if _alive(connection, chain=chain_id, before_ms=before_ms).first() is not None:
        return False
    unsettled = _unsettled(connection, chain=chain_id, settled=list(_SETTLED), before_ms=before_ms)
    if unsettled.first() is not None:
        return False
    told = {row.id for row in _of_tasks(connection, chain=chain_id)}
    told |= {row.id for row in _of_submissions(connection, chain=chain_id)}
    ids = sorted(told)
    if ids and _undelivered(connection, ids=ids).first() is not None:
        return False
    _drop(connection, ids)
    _keep_keys(connection, chain=chain_id)
    named = [f"{row.upstream}|{row.id}" for row in _task_ids(connection, chain=chain_id)]
    scopes = [f"{per}:{name}" for name in named for per in ("task", "root")]
    _drop_firings(connection, scopes=[f"chain:{chain_id}", *scopes])
    for statement in (_drop_attempts, _drop_submissions, _drop_tasks, _drop_row):
        statement(connection, chain=chain_id)
    return True


_old_tasks = Prepared(
    select(tasks.c.id, tasks.c.upstream, tasks.c.created_at_ms)
    .where(
        tasks.c.chain_id.is_(None),
        tasks.c.submission_id.is_(None),
        tasks.c.created_at_ms < bindparam("before_ms"),
        tasks.c.updated_at_ms < bindparam("before_ms"),
    )
    .order_by(tasks.c.created_at_ms, tasks.c.id)
    .limit(bindparam("most"))
)
_of_task = Prepared(
    select(events.c.id).where(
        events.c.upstream == bindparam("of_upstream"), events.c.task_id == bindparam("task_id")
    )
)
_drop_task = Prepared(
    delete(tasks).where(tasks.c.upstream == bindparam("of_upstream"), tasks.c.id == bindparam("task_id"))
)


def drop_tasks(connection: Connection, before_ms: int, most: int) -> int:
    """Drop a few of the tasks that belong to no chain, since no receiver ever heard of them; how many went."""
    rows = _old_tasks(connection, before_ms=before_ms, most=most).all()
    for row in rows:
        if many_writers(connection):
            held = task_rows.held(connection, row.upstream, row.id)
            if held is None or held.chain_id is not None or held.updated_at_ms >= before_ms:
                continue  # a callback came in while we looked
        _drop(connection, [one.id for one in _of_task(connection, of_upstream=row.upstream, task_id=row.id)])
        _drop_task(connection, of_upstream=row.upstream, task_id=row.id)
    return len(rows)


def _drop(connection: Connection, event_ids: list[int]) -> None:
    if event_ids:
        _drop_deliveries(connection, ids=event_ids)
        _drop_events(connection, ids=event_ids)
