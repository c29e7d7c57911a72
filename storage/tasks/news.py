"""Which signal an upstream's report gives that nothing has given before."""

from __future__ import annotations

from sqlalchemy import Connection

from midjourney.decode import kept_task
from midjourney.lifecycle import Position, advance, position_of
from midjourney.types import Status, Task
from storage.events import event_log
from storage.records import SIGNAL_OF_CHANGE, TaskRow
from storage.tasks import sql


def of_move(
    connection: Connection, row: TaskRow, known: Position | None, task: Task
) -> tuple[str | None, str]:
    """The signal of a task that has moved, and a note about anything odd. An end gives its signal only once."""
    moved = advance(known, position_of(task)) or advance(None, position_of(task))
    signal = SIGNAL_OF_CHANGE[moved[1]] if moved is not None else None
    if signal not in (None, "task.progressed") and was_given(connection, row, str(signal)):
        return None, ""
    if row.finished_at_ms is not None and row.status != task.status:
        return signal, f"the upstream says {task.status}; it was {row.status} before"
    swapped = f"shows image {task.image_number}, but another image was pressed" if task.is_swapped else ""
    return signal, swapped or task.oddity


def of_late_content(connection: Connection, row: TaskRow, task: Task) -> tuple[str | None, str]:
    """The signal of an image whose buttons arrived after its SUCCESS, or of an end that only refuted callbacks have reported;
    and the reason."""
    ending = advance(None, position_of(task))
    signal = SIGNAL_OF_CHANGE[ending[1]] if ending is not None and task.is_finished else None
    if signal is not None and _was_given_falsely(connection, row, signal):
        return signal, "the callback that first reported it is refuted"
    if not row.confirmed or task.status != Status.SUCCESS or not task.buttons:
        return None, ""
    before = kept_task(event_log.latest(connection, row.upstream, row.id)[0])
    if before is None or (before.buttons and (before.is_grid or not task.is_grid)):
        return None, ""
    return "task.succeeded", "its buttons came after its SUCCESS"


def _was_given_falsely(connection: Connection, row: TaskRow, signal: str) -> bool:
    """True if only refuted callbacks have given this signal."""
    falsely = sql.GIVEN_FALSELY.first(connection, upstream=row.upstream, task_id=row.id, signal=signal)
    return falsely is not None and not was_given(connection, row, signal)


def was_given(connection: Connection, row: TaskRow, signal: str) -> bool:
    """True if an event that is not refuted has given this signal for the task."""
    return sql.GIVEN.first(connection, upstream=row.upstream, task_id=row.id, signal=signal) is not None
