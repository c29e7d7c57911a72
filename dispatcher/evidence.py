"""What an upstream's list tells of a submission that nobody is certain of. Pure: a list and what we know in, a word out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from midjourney.types import Status, Task
from storage.records import Submission, TaskRow
from storage.settlements import INTERRUPTED

INTERRUPTED_TRIES = 5
"""How often a submission is sent that the list disproves, where it was our process that stopped. A second loss of
another kind is no accident: a person should look at that upstream."""

CLOCKS_DIFFER_MS = 600_000
"""By how much an upstream's clock may be behind ours."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks an upstream shows, and those of them that we know, by id.

    Lists are by age: all there are (novicezk, Plus), or the latest 100 (trueai v11). One that is no `list` has only the
    tasks that were asked about.
    """

    tasks: Sequence[Task]
    rows: Mapping[str, TaskRow]
    is_list: bool = True

    @property
    def reaches_ms(self) -> int | None:
        """Since when it shows all that we know (epoch ms); None when it shows nothing of that."""
        return min((row.created_at_ms for row in self.rows.values()), default=None)

    @property
    def shows_marks(self) -> bool | None:
        """Whether tasks of ours carry their marks in it: relays replace both. None when it shows none of ours."""
        ours = [(task, self.rows[task.id].submission_id) for task in self.tasks if task.id in self.rows]
        marked = [mark.encode() in task.raw for task, mark in ours if mark]
        return all(marked) if marked else None

    def has_strangers_since(self, since_ms: int) -> bool:
        """Whether it shows a task that nobody can account for, and that may have begun after that moment."""
        return any(
            self._may_have_begun(task, since_ms)
            for task in self.tasks
            if task.id not in self.rows or not self.rows[task.id].submission_id
        )

    def _may_have_begun(self, task: Task, since_ms: int) -> bool:
        row = self.rows.get(task.id)
        if row is not None:
            return row.created_at_ms >= since_ms
        return task.submit_time_ms is None or task.submit_time_ms >= since_ms - CLOCKS_DIFFER_MS


def proves(task: Task, submission: Submission) -> bool:
    """Whether this task shows that the upstream took the submission.

    A modal carries no mark, and runs under its window's own id: the window has moved on. That it still waits proves
    nothing, since Plus 3.7.5 shows MODAL until an answered window leaves the queue.
    """
    if submission.kind == "modal":
        return task.id == submission.parent_id and task.status not in (Status.MODAL, Status.NOT_START)
    # The id is unguessable: wherever it stands (state, hook, a relay's percent-encoded wrapping of it), it is ours.
    return submission.id.encode() in task.raw


def disproves(listed: Listed, submission: Submission) -> bool:
    """Whether a list without the submission's mark shows that the upstream never took it.

    It must reach back far enough: it shows the task that was pressed, or one that is older than the submission. And no
    task in it may be the one: either tasks of ours do carry their marks there, or there is none that might be it.
    """
    most = INTERRUPTED_TRIES if submission.outcome == INTERRUPTED else 1
    if submission.kind == "modal" or submission.tries > most:
        return False
    if not listed.is_list or listed.shows_marks is False:
        return False
    since_ms = submission.started_at_ms or 0
    if submission.parent_id:
        reaches = submission.parent_id in {task.id for task in listed.tasks}
    else:
        reaches = listed.reaches_ms is not None and listed.reaches_ms < since_ms
    return reaches and (listed.shows_marks is True or not listed.has_strangers_since(since_ms))
