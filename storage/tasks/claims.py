"""Decides which submission made a task: by the mark that the upstream shows, or, if it shows none, by the task's details.

A callback on a submission's hook claims that the submission made its task. The claim is true if the upstream knows the task and
shows the submission's mark on it. If the upstream does not show marks, the claim is true if the task fits this submission and no
other, by what was pressed and where, or by the prompt and the time.
"""

from __future__ import annotations

from sqlalchemy import Connection

from midjourney.requests import Action, Change, Imagine, Modal, decode_request
from midjourney.types import Task
from storage.records import Submission
from storage.tasks import marks, sql

CLOCKS_DIFFER_MS = 600_000
"""By how much an upstream's clock may differ from ours."""

_OPEN = ("waiting", "sending", "uncertain", "dead")
"""States of a submission that the upstream may have received without our knowledge."""


def owner_of(connection: Connection, upstream: str, task: Task) -> Submission | None:
    """The submission that made a task, given the upstream's own report of it; None if no submission is shown to."""
    by_mark = marks.marked_by(connection, upstream, task.raw)
    marked = [submission for submission in by_mark if submission.kind != "modal"]
    if marked:
        own = [submission for submission in marked if submission.id == marks.mark_in_state(task.state)]
        return own[0] if own else marked[0] if len(marked) == 1 else None
    claims = set(sql.CLAIMED_BY.all(connection, upstream=upstream, task_id=task.id))
    if not claims or marks.are_shown(connection, upstream):
        return None
    since_ms = (task.submit_time_ms or 0) - CLOCKS_DIFFER_MS
    unsettled = sql.UNSETTLED.all(connection, upstream=upstream, since_ms=since_ms, open_states=list(_OPEN))
    fitting = [submission for submission in unsettled if _fits(submission, task)]
    return fitting[0] if len(fitting) == 1 and fitting[0].id in claims else None


def refute_wrong_hooks(connection: Connection, upstream: str, task_id: str) -> bool:
    """Refute the callbacks about a task that arrived on hooks of submissions which did not make it: a submission's hook is valid
    only for its own tasks. True if there were any."""
    return sql.REFUTE_CLAIMS(connection, upstream=upstream, task_id=task_id) > 0


def has_valid_events(connection: Connection, upstream: str, task_id: str) -> bool:
    """True if there is any event about a task that is not refuted."""
    return sql.VALID_EVENT.first(connection, upstream=upstream, task_id=task_id) is not None


def _fits(submission: Submission, task: Task) -> bool:
    """True if the details in a task fit what this submission requested."""
    request = decode_request(submission.request)
    match request:
        case Action():
            return task.pressed_on == request.task_id and task.made_by in (
                request.custom_id,
                submission.label,
            )
        case Change():
            return task.pressed_on == request.task_id and task.made_by == submission.label
        case Modal():
            return False
        case Imagine():
            started_ms = submission.started_at_ms or 0
            begun_ms = task.submit_time_ms
            in_time = begun_ms is not None and begun_ms >= started_ms - CLOCKS_DIFFER_MS
            return in_time and _words(task.prompt) == _words(request.prompt)
        case _:
            return False


def _words(prompt: str) -> str:
    return " ".join(prompt.split())
