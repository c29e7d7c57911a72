"""Loop: uncertain submissions are settled by evidence before anything is sent again.

Proof that the upstream has one: a callback by its own path (storage sees to that), or a task in the upstream's list
that carries its mark, which is the submission's id in `state` or in the hook. Proof that it has not: a list that is
known to reach back far enough, since it shows the task that was pressed, or an older one of ours, and shows no such
mark, long enough after the request that no server is still working on it. Without proof a submission stays uncertain, for a person to settle, or
is sent once more where the user has said so.
The answer to a window is proven by the window, and never disproven: it carries no mark.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from dispatcher.submit import Clock
from dispatcher.supervisor import Loop
from midjourney.buttons import ALWAYS_MODAL, Button
from midjourney.client import Client
from midjourney.errors import ProtocolError
from midjourney.requests import Action, decode_request
from midjourney.types import Status, Task
from storage import settlements, submissions, tasks
from storage.engine import Connection, Database
from storage.records import Incoming, Submission
from storage.settlements import INTERRUPTED

log = structlog.get_logger("hookchain")

WINDOW_S = 30.0
"""Seconds more for a button that may open a window: Plus 3.7.5 answers those within 30 s."""


LONGEST_PAUSE_MS = 300_000
"""Between two looks for one submission that no evidence is found for; the first comes 4 s after the one before."""

INTERRUPTED_TRIES = 5
"""How often a submission is sent that the list disproves, where it was our process that stopped. A second loss of
another kind is no accident: a person should look at that upstream."""

FREE_TRIES = 5
"""How often a press is sent that only opens a window, when nobody learns whether it did."""

LOOKED_THROUGH = 10_000
"""Uncertain submissions that are considered at all."""


class Settler:
    """Looks for evidence about submissions that nobody is certain of."""

    def __init__(self, database: Database, clients: Mapping[str, Client], clock: Clock) -> None:
        self._database = database
        self._clients = clients
        self._clock = clock
        self._looks: dict[str, tuple[int, int]] = {}
        self.loop = Loop("settle", self._turn, interval_s=2.0)

    async def _turn(self) -> None:
        uncertain = await self._database.read(
            lambda connection: submissions.in_state(connection, "uncertain", most=LOOKED_THROUGH)
        )
        self._looks = {one.id: self._looks[one.id] for one in uncertain if one.id in self._looks}
        now_ms = (
            self._clock()
        )  # before the question: what the list does not show was due when it was asked for
        for name in {submission.upstream for submission in uncertain} & self._clients.keys():
            due = [one for one in uncertain if one.upstream == name and self._is_due(one, now_ms)]
            if not due:
                continue
            for one in due:
                self._looks[one.id] = (now_ms, self._looks.get(one.id, (0, 0))[1] + 1)
            listed = await self._listed(name, due)
            reaches_ms = await self._reaches_back(name, listed)
            for submission in due:
                if not await self._settle(submission, listed, reaches_ms):
                    await self._retry(submission)

    async def _reaches_back(self, name: str, listed: list[Task]) -> int | None:
        """Since when the list shows all that is ours; None when it can disprove nothing.

        It cannot when it shows a task of ours without its mark: relays replace both. Lists are by age: all of them
        (novicezk, Plus), or the latest 100 (trueai v11).
        """
        rows = await self._database.read(
            lambda connection: tasks.find_all(connection, name, [task.id for task in listed])
        )
        ours = [(task, rows[task.id]) for task in listed if task.id in rows]
        if not all((row.submission_id or "").encode() in task.raw for task, row in ours):
            return None
        return min((row.created_at_ms for _, row in ours), default=None)

    async def _listed(self, name: str, due: list[Submission]) -> list[Task]:
        """What the upstream holds; where it has no list, the windows that may have been answered."""
        client = self._clients[name]
        try:
            if client.dialect.has("list"):
                return await client.list_all()
            windows = [one.parent_id for one in due if one.kind == "modal"]
            return [task for one in windows if (task := await client.fetch(one)) is not None]
        except ProtocolError as error:
            log.info("no evidence to be had", upstream=name, why=str(error))
            return []

    async def _retry(self, submission: Submission) -> None:
        """Without evidence it waits for a person, unless the user wants it sent once more, or that costs nothing."""
        policy = self._clients[submission.upstream].upstream.uncertain
        if _opens_a_window(submission):
            reason = "nothing tells whether its window opened; sent again, since a window that is not answered is free"
            most = FREE_TRIES
        else:
            reason = 'nothing tells whether it was accepted; sent once more, as `uncertain = "retry"` says'
            most = 1 if policy == "retry" else 0
        if submission.tries > most:
            return
        now_ms = self._clock()
        again = await self._database.write(
            "settle_uncertain",
            lambda connection: submissions.move(
                connection,
                submission.id,
                from_states=["uncertain"],
                to="waiting",
                attempts=submission.attempts,
                reason=reason,
                run_at_ms=now_ms,
                now_ms=now_ms,
            ),
        )
        if again:
            log.warning("uncertain submission sent again", submission=submission.id)
            self._database.wakeups.wake("submissions")

    async def _settle(self, submission: Submission, listed: list[Task], reaches_ms: int | None) -> bool:
        now_ms = self._clock()
        marked = [task for task in listed if _is_proof(task, submission)]
        for task in marked:  # the way of a callback to the submission's own path: ties the task, and proves
            await self._database.append(
                Incoming(
                    upstream=submission.upstream,
                    task=task,
                    submission_id=submission.id,
                    source="reconcile",
                    received_at_ms=now_ms,
                )
            )

        def settle(connection: Connection) -> str:
            if marked:
                settlements.prove(connection, submission, marked[0].id, now_ms)
                return "accepted"
            if not _is_disproof(submission, listed, reaches_ms):
                return ""
            submissions.move(
                connection,
                submission.id,
                from_states=["uncertain"],
                to="waiting",
                attempts=submission.attempts,
                reason="the upstream's list shows that it never took it",
                run_at_ms=now_ms,
                now_ms=now_ms,
            )
            return "waiting"

        if state := await self._database.write("settle_uncertain", settle):
            log.info("uncertain submission settled", submission=submission.id, state=state)
            self._database.wakeups.wake("events", "submissions")
        return bool(state)

    def _is_due(self, submission: Submission, now_ms: int) -> bool:
        """Whether no server can still be busy with its request, and it was not looked for a moment ago."""
        request = decode_request(submission.request)
        opens_none = not isinstance(request, Action) or Button(custom_id=request.custom_id).kind == "upscale"
        wait_s = self._clients[submission.upstream].upstream.settle_after_s + (0 if opens_none else WINDOW_S)
        looked_ms, looks = self._looks.get(submission.id, (0, 0))
        pause_ms = min(2_000 * 2 ** min(looks, 20), LONGEST_PAUSE_MS) if looks else 0
        # One whose worker fell silent may have left until then: that worker sends nothing once it is given up.
        silent = submission.outcome == INTERRUPTED
        sent_ms = max(
            submission.updated_at_ms if silent else 0, submission.started_at_ms or submission.updated_at_ms
        )
        return now_ms - sent_ms >= 1000 * wait_s and now_ms - looked_ms >= pause_ms


def _opens_a_window(submission: Submission) -> bool:
    """Whether it is a press that only ever opens a window: what costs is the answer to it."""
    request = decode_request(submission.request)
    return isinstance(request, Action) and Button(custom_id=request.custom_id).kind in ALWAYS_MODAL


def _is_disproof(submission: Submission, listed: list[Task], reaches_ms: int | None) -> bool:
    """Whether a list without the submission's mark shows that the upstream never took it."""
    most = INTERRUPTED_TRIES if submission.outcome == INTERRUPTED else 1
    if submission.kind == "modal" or reaches_ms is None or submission.tries > most:
        return False
    shows_parent = submission.parent_id in {task.id for task in listed}
    return shows_parent or (not submission.parent_id and reaches_ms < (submission.started_at_ms or 0))


def _is_proof(task: Task, submission: Submission) -> bool:
    """Whether this task shows that the upstream took the submission.

    A modal carries no mark, and runs under its window's own id: the window has moved on. That it still waits proves
    nothing, since Plus 3.7.5 shows MODAL until an answered window leaves the queue.
    """
    if submission.kind == "modal":
        return task.id == submission.parent_id and task.status not in (Status.MODAL, Status.NOT_START)
    # The id is unguessable: wherever it stands (state, hook, a relay's percent-encoded wrapping of it), it is ours.
    return submission.id.encode() in task.raw
