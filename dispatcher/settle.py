"""Loop: uncertain submissions are settled by evidence before anything is sent again.

Proof that the upstream has one: a callback by its own path (storage sees to that), or a task in the upstream's list
that carries its mark, which is the submission's id in `state` or in the hook. Proof that it has not: a list that reaches
back far enough and shows no task that may be it, long enough after the request that no server is still working on it
(dispatcher/evidence.py). Without proof a submission stays uncertain, for a person to settle, or is sent once more where
the user has said so. The answer to a window is proven by the window, and never disproven: it carries no mark.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from dispatcher.evidence import Listed, disproves, proves
from dispatcher.submit import Clock
from dispatcher.supervisor import Loop
from midjourney.buttons import ALWAYS_MODAL, Button
from midjourney.client import Client
from midjourney.errors import ProtocolError
from midjourney.requests import Action, decode_request
from midjourney.types import Task
from storage import settlements, submissions, tasks
from storage.engine import Database
from storage.records import Incoming, Submission
from storage.settlements import INTERRUPTED

log = structlog.get_logger("hookchain")

WINDOW_S = 30.0
"""Seconds more for a button that may open a window: Plus 3.7.5 answers those within 30 s."""


LONGEST_PAUSE_MS = 300_000
"""Between two looks for one submission that no evidence is found for; the first comes 4 s after the one before."""

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
            found = await self._found(name, due)
            left = [one for one in due if not await self._prove(one, found)]
            listed = await self._listed(name, found)
            for submission in left:
                if not await self._disprove(submission, listed):
                    await self._retry(submission)

    async def _found(self, name: str, due: list[Submission]) -> list[Task]:
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

    async def _listed(self, name: str, found: list[Task]) -> Listed:
        """With what is known of them now: those that have just proven something are ours."""
        rows = await self._database.read(
            lambda connection: tasks.find_all(connection, name, [task.id for task in found])
        )
        return Listed(tasks=found, rows=rows, is_list=self._clients[name].dialect.has("list"))

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
        if await self._again(submission, reason):
            log.warning("uncertain submission sent again", submission=submission.id)
            self._database.wakeups.wake("submissions")

    async def _prove(self, submission: Submission, found: list[Task]) -> bool:
        """Settle it by the tasks that show it was accepted, if there are any."""
        marked = [task for task in found if proves(task, submission)]
        if not marked:
            return False
        now_ms = self._clock()
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
        await self._database.write(
            "settle_uncertain",
            lambda connection: settlements.prove(connection, submission, marked[0].id, now_ms),
        )
        self._tell(submission, "accepted")
        return True

    async def _disprove(self, submission: Submission, listed: Listed) -> bool:
        """Have it sent again if the list shows that it was never taken."""
        if not disproves(listed, submission):
            return False
        again = await self._again(submission, "the upstream's list shows that it never took it")
        if again:
            self._tell(submission, "waiting")
        return again

    async def _again(self, submission: Submission, reason: str) -> bool:
        """Whether it is to be sent once more: nobody has settled it meanwhile."""
        now_ms = self._clock()
        return await self._database.write(
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

    def _tell(self, submission: Submission, state: str) -> None:
        log.info("uncertain submission settled", submission=submission.id, state=state)
        self._database.wakeups.wake("events", "submissions")

    def _is_due(self, submission: Submission, now_ms: int) -> bool:
        """Whether no server can still be busy with its request, and it was not looked for a moment ago."""
        upstream = self._clients[submission.upstream].upstream
        request = decode_request(submission.request)
        opens_none = not isinstance(request, Action) or Button(custom_id=request.custom_id).kind == "upscale"
        wait_ms = 1000 * (upstream.settle_after_s + (0 if opens_none else WINDOW_S))
        ended_ms = (
            submission.updated_at_ms
        )  # when we gave up on an answer, or on the worker that waited for it
        if submission.outcome != INTERRUPTED:
            # A server that left us waiting is slow, and may take it still: it has as long again.
            waited_ms = ended_ms - (submission.started_at_ms or ended_ms)
            wait_ms += min(waited_ms, 1000 * upstream.timeout_s)
        looked_ms, looks = self._looks.get(submission.id, (0, 0))
        pause_ms = min(2_000 * 2 ** min(looks, 20), LONGEST_PAUSE_MS) if looks else 0
        return now_ms - ended_ms >= wait_ms and now_ms - looked_ms >= pause_ms


def _opens_a_window(submission: Submission) -> bool:
    """Whether it is a press that only ever opens a window: what costs is the answer to it."""
    request = decode_request(submission.request)
    return isinstance(request, Action) and Button(custom_id=request.custom_id).kind in ALWAYS_MODAL
