"""Tasks that hang: they have not ended, and nothing new was heard of them for long. Each is reported once, by the signal task.overdue."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.events import event_log
from storage.records import TaskRow
from storage.tasks import news, sql
from storage.tasks import rows as tasks

SIGNAL = "task.overdue"


def find(
    connection: Connection, upstream: str, silent_since_ms: int, heard_since_ms: int, most: int
) -> list[TaskRow]:
    """Tasks of an upstream that hang and were not reported: last heard of between these two times, the oldest news first.

    An open modal does not hang: it waits for an answer. Nor does a task that only callbacks have named.
    """
    return sql.HANGING.all(
        connection,
        upstream=upstream,
        silent_since_ms=silent_since_ms,
        heard_since_ms=heard_since_ms,
        signal=SIGNAL,
        most=most,
    )


def report(connection: Connection, found: Sequence[TaskRow], silent_since_ms: int, now_ms: int) -> list[str]:
    """Report those that still hang. Returns their ids."""
    reported = []
    for row in found:
        current = tasks.held(connection, row.upstream, row.id)
        if current is None or current.finished_at_ms is not None or current.updated_at_ms > silent_since_ms:
            continue
        if news.was_given(connection, current, SIGNAL):
            continue
        silent_s = (now_ms - current.updated_at_ms) // 1000
        event_log.append(
            connection,
            event_log.fact(
                upstream=current.upstream,
                task_id=current.id,
                submission_id=current.submission_id or "",
                signal=SIGNAL,
                source="internal",
                action=current.action,
                status=current.status,
                detail=f"it has not ended, and nothing new was heard of it for {silent_s} s",
                now_ms=now_ms,
            ),
        )
        reported.append(current.id)
    return reported
