"""History: the tasks that an upstream had when this database first used it. They are stored, but receivers do not get them.

A new or lost database must not treat old work as news: a restarted server reports it again, and every button would be pressed,
and paid for, once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from midjourney.lifecycle import position_of
from midjourney.types import Task, digest_of
from storage import settings
from storage.events import event_log
from storage.events.event_log import NewEvent
from storage.records import TaskRow, beginning
from storage.tasks import rows as tasks
from storage.tasks import sql

REMEMBERED = 1_000
"""The number of newest tasks whose payload is stored. Of older ones only the row is stored."""

_MET, _LEARNED = "met", "history"


class Known(msgspec.Struct, frozen=True):
    """Since when a database knows an upstream (epoch ms), and whether its history is stored."""

    met_ms: int
    is_learned: bool


def meet(connection: Connection, upstream: str, now_ms: int) -> Known:
    """Since when the upstream is known; `now_ms` at the first call. 0 if that was before releases recorded it."""
    if (learned := settings.value(connection, f"{_LEARNED}:{upstream}")) is not None:
        return Known(int(learned), True)
    if (met := settings.value(connection, f"{_MET}:{upstream}")) is not None:
        return Known(int(met), False)
    if sql.ANY_TASK.first(connection, upstream=upstream) is not None:
        return Known(0, True)
    settings.keep(connection, f"{_MET}:{upstream}", str(now_ms))
    return Known(now_ms, False)


def learn(connection: Connection, upstream: str, listed: Sequence[Task], met_ms: int, now_ms: int) -> int:
    """Store the ended tasks in the upstream's list as history, and the time from which tasks are news; returns their number.

    A task that still runs may belong to another client: it is news only if its hook is ours, and then its callbacks will arrive.
    """
    settings.keep(connection, f"{_LEARNED}:{upstream}", str(met_ms))
    return len(keep(connection, upstream, [task for task in listed if task.is_finished], now_ms))


def keep(connection: Connection, upstream: str, listed: Sequence[Task], now_ms: int) -> list[str]:
    """Store the listed tasks that are not known yet; returns their ids."""
    by_id = {task.id: task for task in listed}
    known = tasks.hold(connection, upstream, list(by_id), now_ms) if by_id else {}
    new = [task for task in by_id.values() if task.id not in known or not known[task.id].status]
    if not new:
        return []
    tasks.put(connection, *(row_of(upstream, task, now_ms) for task in new))
    newest = sorted(new, key=lambda task: task.submit_time_ms or 0)[-REMEMBERED:]
    event_log.append(connection, *[event_of(upstream, task, now_ms) for task in newest])
    return [task.id for task in new]


def row_of(upstream: str, task: Task, now_ms: int) -> TaskRow:
    """The row of an unknown task that the upstream lists."""
    position = position_of(task)
    finished_at_ms = (task.finish_time_ms or now_ms) if task.is_finished else None
    return msgspec.structs.replace(
        tasks.blank(upstream, task.id, now_ms),
        status=position.status,
        progress=position.progress,
        action=task.action,
        prompt=beginning(task.prompt),
        parent_id=task.pressed_on,
        made_by=task.made_by,
        finished_at_ms=finished_at_ms,
        shown=digest_of(task) if task.is_finished else "",
    )


def event_of(upstream: str, task: Task, now_ms: int, *, submission_id: str = "") -> NewEvent:
    """An event, without a signal, that the upstream listed a task."""
    return NewEvent(
        upstream=upstream,
        task_id=task.id,
        submission_id=submission_id,
        source="reconcile",
        signal=None,
        action=task.action,
        status=task.status,
        progress=task.progress,
        advanced=True,
        pending=False,
        detail="history: the upstream listed it",
        payload=task.raw,
        received_at_ms=now_ms,
        provenance="polled",
    )
