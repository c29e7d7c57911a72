"""How an upstream is doing, read from what was kept: what waits there, and how its callbacks come."""

from __future__ import annotations

from math import ceil
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, select

from midjourney.decode import kept_task
from storage import schema

events, tasks, submissions = schema.events, schema.tasks, schema.submissions

LAST = 200
"""Finished tasks that callback health is judged by."""

# By way of their submissions, which an index gives by upstream and age; one for tasks would be written at each callback.
_finished = (
    select(tasks.c.upstream, tasks.c.id, tasks.c.finished_at_ms)
    .select_from(submissions.join(tasks, tasks.c.submission_id == submissions.c.id))
    .where(submissions.c.upstream == bindparam("of_upstream"), tasks.c.finished_at_ms.is_not(None))
    .order_by(submissions.c.created_at_ms.desc())
    .limit(bindparam("most"))
    .subquery("finished")
)
_called = exists().where(
    events.c.upstream == _finished.c.upstream,
    events.c.task_id == _finished.c.id,
    events.c.source == "callback",
)
_ended_by_call = exists().where(
    events.c.upstream == _finished.c.upstream,
    events.c.task_id == _finished.c.id,
    events.c.source == "callback",
    events.c.advanced,
    events.c.received_at_ms == _finished.c.finished_at_ms,
)
_heard = select(
    func.count().label("finished"),
    func.count().filter(_called).label("called"),
    func.count().filter(_ended_by_call).label("ended_by_callback"),
).select_from(_finished)
_came = (
    select(
        events.c.task_id,
        events.c.status,
        events.c.progress,
        events.c.advanced,
        events.c.received_at_ms,
        _finished.c.finished_at_ms,
    )
    .select_from(
        _finished.join(
            events, and_(events.c.upstream == _finished.c.upstream, events.c.task_id == _finished.c.id)
        )
    )
    .where(events.c.source == "callback")
    .order_by(events.c.id)
)
_last_words = (
    select(events.c.payload, events.c.received_at_ms)
    .select_from(
        _finished.join(
            events, and_(events.c.upstream == _finished.c.upstream, events.c.task_id == _finished.c.id)
        )
    )
    .where(
        events.c.source == "callback",
        events.c.advanced,
        events.c.received_at_ms == _finished.c.finished_at_ms,
    )
)


ENOUGH = 3
"""Finished tasks that tell whether an upstream calls back."""


def never_calls(connection: Connection, upstream: str) -> bool:
    """Whether the tasks of ours that ended last ended without a single callback: the upstream drops notifyHook."""
    heard = connection.execute(_heard, {"of_upstream": upstream, "most": 20}).one()
    return bool(heard.finished >= ENOUGH and heard.called == 0)


_some = (  # the last by their ids, which grow with time at most vendors
    select(events.c.source, events.c.received_at_ms)
    .where(events.c.upstream == bindparam("of_upstream"))
    .order_by(events.c.task_id.desc(), events.c.id.desc())
    .limit(bindparam("most"))
    .subquery("some")
)
_last_call = select(func.max(_some.c.received_at_ms)).where(_some.c.source == "callback")


def last_call_ms(connection: Connection, upstream: str) -> int | None:
    """When a callback came last, judged by a thousand events; None where none of them was a callback."""
    found: int | None = connection.execute(_last_call, {"of_upstream": upstream, "most": 1000}).scalar_one()
    return found


def callbacks(connection: Connection, upstream: str, most: int = LAST) -> dict[str, Any]:
    """Of the tasks of ours that ended last: how many called at all, and told their end themselves.

    `duplicates` came before already, `out_of_order` after something newer. `delay_ms` is from the end, as the payload
    tells it by its sender's clock, to the moment it came: median and 95 %, None where payloads tell no end.
    """
    asked = {"of_upstream": upstream, "most": most}
    heard = connection.execute(_heard, asked).one()
    came = connection.execute(_came, asked).all()
    known: set[tuple[str, str, int | None]] = set()
    duplicates = 0
    for one in came:
        duplicates += (one.task_id, one.status, one.progress) in known
        known.add((one.task_id, one.status, one.progress))
    stale = sum(not one.advanced for one in came)
    return {
        "calls_back": None if heard.finished < ENOUGH else heard.called > 0,
        "tasks": heard.finished,
        "called": heard.called,
        "ended_by_callback": heard.ended_by_callback,
        "callbacks": len(came),
        "duplicates": duplicates,
        "out_of_order": max(0, stale - duplicates),
        "delay_ms": _delays(connection, asked),
    }


def _delays(connection: Connection, asked: dict[str, Any]) -> dict[str, int] | None:
    ends = [(kept_task(row.payload), row.received_at_ms) for row in connection.execute(_last_words, asked)]
    delays = sorted(at_ms - task.finish_time_ms for task, at_ms in ends if task and task.finish_time_ms)
    if not delays:
        return None
    return {"median": delays[(len(delays) - 1) // 2], "p95": delays[ceil(0.95 * len(delays)) - 1]}
