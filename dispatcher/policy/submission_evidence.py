"""Decides what an upstream's list says about an uncertain submission. Pure: a list and what we know in, a decision out.

Proof is easy: a task that carries the submission's mark. Disproof concludes from what is missing, so every other explanation must
be ruled out first (decision 0019). A list disproves a submission if it

- was asked for after the request could have ended,
- is fresh: it shows a witness, a task of ours whose request began after that; or, if we submitted nothing later, it was asked for so
  long afterwards that no lag ever seen at this upstream explains the missing task,
- is complete: all its entries can be read, it reaches back to before the attempt, and it lacks no task of ours of the same kind that
  the witness came after,
- carries the marks of tasks of this kind, and
- contains no task of unknown origin that could be the one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import msgspec

from midjourney.types import Status, Task
from storage.records import INTERRUPTED, Submission, TaskRow, Uncertain
from storage.submissions.uncertain import Ours
from storage.upstreams.list_facts import ListFacts

INTERRUPTED_TRIES = 5
"""How often a submission that the list disproves is sent, if it was lost because our process stopped. If one is lost twice for
another reason, a person should look at that upstream."""

CLOCKS_DIFFER_MS = 600_000
"""By how much an upstream's clock may be behind ours."""

COMPLETE_FOR_MS = 3_600_000
"""Tasks that are older than the attempt by more than this may be missing from the list: people delete old pictures."""

LAG_FACTOR = 3
"""A task may be missing from the list for this many times the longest lag seen."""

TO_CONNECT_MS = 10_000
"""How long a request may wait for a connection before it leaves."""

MODAL_MS = 30_000
"""Additional time for a button that may open a modal: Plus 3.7.5 answers those within 30 s."""


class Listing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The tasks that an upstream listed when it was asked at `asked_ms`, and what we know about them.

    `rows` are those that the database knows, by the id in the list; the row itself may have another id. `marked` are our
    submissions whose marks a task carries, by the same ids. `ours` are the tasks that we had made by then, listed or not.
    `unread` entries of the list could not be read: each may be any task.
    """

    asked_ms: int
    tasks: Sequence[Task]
    rows: Mapping[str, TaskRow]
    marked: Mapping[str, Collection[str]]
    ours: Sequence[Ours]
    unread: int = 0

    @cached_property
    def reaches_ms(self) -> int | None:
        """The time (epoch ms) since which the list must contain all accepted tasks; None if it contains no task that we know."""
        return min((row.created_at_ms for row in self.rows.values()), default=None)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(task.id for task in self.tasks) | {row.id for row in self.rows.values()}

    @cached_property
    def _marks(self) -> frozenset[str]:
        return frozenset(mark for marks in self.marked.values() for mark in marks)

    @cached_property
    def _echoes_states(self) -> bool:
        return any(mark in task.state for task in self.tasks for mark in self.marked.get(task.id, ()))

    def shows(self, ours: Ours) -> bool:
        """True if the list contains a task of ours, under any id."""
        return ours.task_id in self._names or ours.submission_id in self._marks

    @cached_property
    def witness_ms(self) -> int | None:
        """When the request of our newest listed task began. Answers to modals do not count, since they make no new task."""
        shown = [own.began_ms for own in self.ours if own.kind != "modal" and self.shows(own)]
        return max(shown, default=None)

    @cached_property
    def marks_of_kinds(self) -> Mapping[str, bool]:
        """For each kind of which our tasks are listed: whether all of them carry their marks."""
        kinds: dict[str, bool] = {}
        submission_of = {own.task_id: own for own in self.ours if own.kind != "modal"}
        for task in self.tasks:
            row = self.rows.get(task.id)
            ours = submission_of.get(row.id if row is not None else task.id)
            if ours is not None:
                kinds[ours.kind] = kinds.get(ours.kind, True) and ours.submission_id in self.marked.get(
                    task.id, ()
                )
        return kinds

    def lacks(self, kind: str, since_ms: int, until_ms: int) -> list[str]:
        """Ids of our tasks of a kind that were accepted between these times, and that the list should contain but does not."""
        since_ms = max(since_ms, self.reaches_ms or since_ms)
        return [
            own.task_id
            for own in self.ours
            if own.kind == kind
            and since_ms <= own.began_ms
            and own.known_ms <= until_ms
            and not own.may_be_gone
            and not self.shows(own)
        ]

    @cached_property
    def actions_of_kinds(self) -> Mapping[str, frozenset[str]]:
        """For each kind of which our tasks are listed: the actions that the upstream gives them."""
        kind_of = {own.task_id: own.kind for own in self.ours if own.kind != "modal"}
        actions_of: dict[str, set[str]] = {}
        for task in self.tasks:
            row = self.rows.get(task.id)
            kind = kind_of.get(row.id if row is not None else task.id)
            if kind is not None and task.action:
                actions_of.setdefault(kind, set()).add(task.action)
        return {kind: frozenset(actions) for kind, actions in actions_of.items()}

    def stranger_since(self, since_ms: int, kind: str) -> str | None:
        """The id of a task of unknown origin that may have begun after this time and may be of this kind; or None."""
        strangers = (
            task.id for task in self.tasks if self._is_stranger(task, since_ms) and self._may_be(task, kind)
        )
        return next(strangers, None)

    def _may_be(self, task: Task, kind: str) -> bool:
        """True if a task may be of a kind. False if only our tasks of other kinds have its action."""
        others = [actions for other, actions in self.actions_of_kinds.items() if other != kind]
        own = self.actions_of_kinds.get(kind, frozenset())
        return not own or task.action in own or not any(task.action in actions for actions in others)

    def _is_stranger(self, task: Task, since_ms: int) -> bool:
        row = self.rows.get(task.id)
        if self.marked.get(task.id) or (row is not None and row.submission_id):
            return False
        if task.state and self._echoes_states:  # its `state` shows that another client submitted it
            return False
        if row is not None:
            return row.created_at_ms >= since_ms
        return task.submit_time_ms is None or task.submit_time_ms >= since_ms - CLOCKS_DIFFER_MS


def proves(task: Task, submission: Submission) -> bool:
    """True if this task shows that the upstream accepted the submission.

    The answer to a modal carries no mark, and runs under the modal's own id: it is proven once the modal has moved on. A modal
    that still waits proves nothing, since Plus 3.7.5 shows MODAL until an answered modal leaves the queue. A task that an
    earlier attempt made, and that was lost since, says nothing about this attempt.
    """
    if submission.kind == "modal":
        return task.id == submission.parent_id and has_moved_on(task.status)
    if task.id in submission.task_ids:
        return False
    # The id is unguessable: anywhere in the payload (state, hook, percent-encoded by a relay), it proves that the task is ours.
    return submission.id.encode() in task.raw


def has_moved_on(status: str) -> bool:
    """True if a modal whose task has this status was answered."""
    return status not in ("", Status.MODAL, Status.NOT_START)


def could_have_ended_ms(
    submission: Submission,
    *,
    timeout_ms: int,
    margin_ms: int,
    slowest_ms: int = 0,
    may_open_modal: bool = False,
) -> int:
    """When the upstream has certainly finished with the request (epoch ms), whether it accepted it or not.

    That is a whole time-out after the request left, at the least. An attempt begins before its request leaves: other requests may
    go first, or a connection has to be made. So the request left, at the latest, when we gave up on it; or, if our process died,
    just before that was noticed. It is never less than twice the slowest answer that this upstream gave to a request that it
    accepted.
    """
    uncertain_ms = submission.updated_at_ms
    started_ms = submission.started_at_ms or uncertain_ms
    left_ms = uncertain_ms
    if submission.outcome == INTERRUPTED:
        left_ms = min(uncertain_ms, started_ms + timeout_ms + TO_CONNECT_MS)
    ended_ms = left_ms + timeout_ms
    ended_ms = max(ended_ms, started_ms + 2 * slowest_ms)
    return ended_ms + margin_ms + (MODAL_MS if may_open_modal else 0)


def objection(
    listing: Listing, uncertain: Uncertain, habits: ListFacts, *, ended_ms: int, idle_ms: int
) -> str:
    """Why a list without the submission's mark does not disprove the submission; "" if it does.

    `ended_ms` is when the request could have ended. `idle_ms` is how long after that a list without anything newer counts as
    fresh.
    """
    submission = uncertain.submission
    most = INTERRUPTED_TRIES if submission.outcome == INTERRUPTED else 1
    if submission.kind == "modal":
        return "the answer to a modal carries no mark"
    if uncertain.times > most:
        return f"it was lost {uncertain.times} times: a person should look at this upstream"
    if listing.asked_ms < ended_ms:
        return "the request may still be under way"
    if listing.unread:
        return f"{listing.unread} entries of the list cannot be read, and may be its task"
    since_ms = submission.started_at_ms or submission.updated_at_ms
    if listing.reaches_ms is None or listing.reaches_ms >= since_ms:
        return "the list does not reach back to before the request"
    if not listing.marks_of_kinds.get(submission.kind, habits.marks.get(submission.kind, False)):
        return f"the list has not shown a task of kind {submission.kind} with its mark"
    if stranger := listing.stranger_since(since_ms, submission.kind):
        return f"task {stranger} in the list may be its task"
    is_fresh = listing.witness_ms is not None and listing.witness_ms >= ended_ms
    if not is_fresh and not _is_long_enough(listing, habits, ended_ms, idle_ms):
        return "nothing in the list is known to be newer than the request"
    until_ms = listing.witness_ms if is_fresh and listing.witness_ms is not None else listing.asked_ms
    if missing := listing.lacks(submission.kind, since_ms - COMPLETE_FOR_MS, until_ms):
        return f"the list is incomplete: it lacks task {missing[0]}"
    return ""


def _is_long_enough(listing: Listing, habits: ListFacts, ended_ms: int, idle_ms: int) -> bool:
    if habits.lag_ms is None:
        return False
    return listing.asked_ms >= ended_ms + max(idle_ms, LAG_FACTOR * habits.lag_ms)
