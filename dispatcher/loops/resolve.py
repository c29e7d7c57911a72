"""Loop: settles uncertain submissions by evidence before anything is sent again.

Proof comes early: the loop looks for the mark after 1, 2, 4 … seconds, in the upstream's list and in the database; the answer to a
modal is proven by the modal's own task. Disproof comes late, if at all (`dispatcher/policy/submission_evidence.py`). Without either
it stays uncertain until a person settles it, or is sent once more if the settings say so.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.loops.look import Look, look
from dispatcher.loops.loop import Loop
from dispatcher.policy import list_learning
from dispatcher.policy.looks import next_look_ms
from dispatcher.policy.submission_evidence import could_have_ended_ms, has_moved_on, objection, proves
from midjourney.buttons import ALWAYS_MODAL, Button
from midjourney.client import Client
from midjourney.requests import Action, decode_request
from midjourney.types import Task
from storage.clock import Clock
from storage.engine import Connection, Database
from storage.records import Incoming, Submission, Uncertain
from storage.submissions import children, places, proof, submission_queue, uncertain
from storage.tasks import rows as tasks
from storage.tasks.believe import TaskReport, believe
from storage.upstreams import list_facts
from storage.upstreams.list_facts import ListFacts

log = structlog.get_logger("hookchain")

FREE_TRIES = 5
"""The most tries of a press that only opens a modal, if it stays unknown whether it did."""

LOOKED_THROUGH = 10_000
"""The most uncertain submissions that are examined at once."""

TURN_S = 1.0
"""Seconds between two checks for uncertain submissions."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An uncertain submission, when evidence was last sought (epoch ms), and how often."""

    uncertain: Uncertain
    looked_ms: int = 0
    looks: int = 0


class Resolver:
    """Looks for evidence about uncertain submissions."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        connected_signals: Callable[[], Container[str]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._connected_signals = connected_signals
        self._clients = clients
        self._clock = clock
        self._open: dict[str, Pending] = {}
        self._habits: dict[str, ListFacts] = {}
        self._asking: set[str] = set()
        self.loop = Loop("settle", self._turn, interval_s=TURN_S)

    async def _turn(self) -> None:
        ids = await self._database.read(partial(uncertain.uncertain, most=LOOKED_THROUGH))
        self._open = {id_: pending for id_, pending in self._open.items() if id_ in ids}
        await self._read([id_ for id_ in ids if id_ not in self._open])
        upstreams = {pending.uncertain.submission.upstream for pending in self._open.values()}
        for name in upstreams & self._clients.keys():
            if name not in self._asking:  # an upstream that hangs must not block the others
                self._asking.add(name)
                self.loop.spawn(self._look_at(name))
        self._wake_in_time()

    async def _read(self, ids: Sequence[str]) -> None:
        """Read these submissions anew. The number of looks is kept only within the same attempt."""
        for case in await self._database.read(partial(uncertain.read, ids=ids)):
            submission = case.submission
            before = self._open.get(submission.id)
            is_same = before is not None and before.uncertain.submission.attempts == submission.attempts
            known = before if before is not None and is_same else Pending(uncertain=case)
            self._open[submission.id] = msgspec.structs.replace(known, uncertain=case)

    async def _look_at(self, name: str) -> None:
        """Look for evidence about all submissions that are due at one upstream."""
        try:
            if name not in self._habits:
                self._habits[name] = await self._database.read(partial(list_facts.find, upstream=name))
            here = {id_: one for id_, one in self._open.items() if one.uncertain.submission.upstream == name}
            due = [id_ for id_, pending in here.items() if self._is_due(pending)]
            if not due:
                return
            await self._read(due)
            now_ms = self._clock()
            for id_ in due:
                pending = self._open[id_]
                self._open[id_] = msgspec.structs.replace(pending, looked_ms=now_ms, looks=pending.looks + 1)
            await self._settle(name, [self._open[id_].uncertain for id_ in due])
        finally:
            self._asking.discard(name)

    async def _settle(self, name: str, due: list[Uncertain]) -> None:
        left = [case for case in due if not await self._is_known_already(case.submission)]
        if not left:
            return
        seen = await look(
            self._database,
            self._clients[name],
            [case.submission for case in left],
            self._habits[name],
            self._clock,
        )
        left = [case for case in left if not await self._prove(case.submission, seen.tasks)]
        await self._learn(name, seen)
        for case in left:
            if not await self._disprove(case, seen):
                await self._retry(case.submission, seen.asked_ms)
        await self._free([case.submission.id for case in left if seen.shows_not_running(case.submission)])

    async def _free(self, absent: Sequence[str]) -> None:
        """Free the places of submissions whose tasks cannot be running, even while their outcome stays unknown."""
        free = partial(places.free, submission_ids=absent)
        freed = await self._database.write("places", free) if absent else 0
        if freed:
            log.info(
                "uncertain submissions no longer hold places: the list shows no task of theirs",
                submissions=absent,
            )
            self._database.wakeups.wake("submissions")

    async def _is_known_already(self, submission: Submission) -> bool:
        """Settle it without asking, if the database has a task of its own, or its modal has moved on, as the upstream confirmed."""

        def known(connection: Connection) -> str:
            if submission.kind == "modal":
                modal = tasks.find(connection, submission.upstream, submission.parent_id)
                answered = modal is not None and modal.confirmed and has_moved_on(modal.status)
                return submission.parent_id if answered else ""
            new = children.new(connection, submission)
            return new[0] if new else ""

        task_id = await self._database.read(known)
        if task_id:
            await self._accept(submission, task_id)
        return bool(task_id)

    async def _prove(self, submission: Submission, shown: Sequence[Task]) -> bool:
        """Settle it if any of these tasks proves that it was accepted."""
        proofs = [task for task in shown if proves(task, submission)]
        if not proofs:
            return False
        now_ms = self._clock()
        for task in proofs:
            # An answer to a modal carries no mark: the task is the modal itself, which has moved on.
            if submission.kind == "modal":
                await self._database.append(
                    Incoming(
                        upstream=submission.upstream,
                        task=task,
                        submission_id=submission.id,
                        source="reconcile",
                        received_at_ms=now_ms,
                    )
                )
                continue
            report = TaskReport(upstream=submission.upstream, task_id=task.id, task=task, asked_at_ms=now_ms)
            await self._database.write(
                "believe",
                partial(believe, report=report, wanted_signals=self._connected_signals(), now_ms=now_ms),
            )
        await self._accept(submission, proofs[0].id)
        return True

    async def _accept(self, submission: Submission, task_id: str) -> None:
        await self._database.write(
            "settle_uncertain",
            lambda connection: proof.prove(connection, submission, task_id, self._clock()),
        )
        self._report(submission, "accepted")

    async def _learn(self, name: str, seen: Look) -> None:
        """Store what this look shows about the upstream's list."""
        known = self._habits[name]
        if seen.listing is not None:
            learned = list_learning.learn(known, seen.listing)
        else:
            learned = msgspec.structs.replace(known, is_missing=known.is_missing or seen.has_no_list)
        if learned != known:
            self._habits[name] = learned
            await self._database.write(
                "learned", lambda connection: list_facts.keep(connection, name, learned)
            )

    async def _disprove(self, case: Uncertain, seen: Look) -> bool:
        """Let it be sent again if the list shows that it was never accepted."""
        if seen.listing is None:
            return False
        submission = case.submission
        why_not = objection(
            seen.listing,
            case,
            self._habits[submission.upstream],
            ended_ms=self._ended_ms(submission),
            idle_ms=int(1000 * self._clients[submission.upstream].upstream.list_lag_s),
        )
        if why_not:
            log.info("still uncertain", submission=submission.id, why=why_not)
            return False
        again = await self._again(submission, "the upstream's list shows that it was never accepted")
        if again:
            self._report(submission, "waiting")
        return again

    async def _retry(self, submission: Submission, asked_ms: int) -> None:
        """Without evidence, leave it to a person, unless the settings allow sending it once more or that is free."""
        if asked_ms < self._ended_ms(submission):
            return
        policy = self._clients[submission.upstream].upstream.uncertain
        if _kind_pressed(submission) in ALWAYS_MODAL:
            reason = "it is unknown whether its modal opened; sent again, because an unanswered modal is free"
            most = FREE_TRIES
        else:
            reason = 'it is unknown whether it was accepted; sent once more, as `uncertain = "retry"` says'
            most = 1 if policy == "retry" else 0
        if submission.tries > most:
            return
        if await self._again(submission, reason):
            log.warning("uncertain submission sent again", submission=submission.id)
            self._database.wakeups.wake("submissions")

    async def _again(self, submission: Submission, reason: str) -> bool:
        """Let it be sent once more. Returns False if somebody has settled it meanwhile."""
        now_ms = self._clock()
        return await self._database.write(
            "settle_uncertain",
            lambda connection: submission_queue.move(
                connection,
                submission.id,
                by="disprove",
                to="waiting",
                attempts=submission.attempts,
                reason=reason,
                run_at_ms=now_ms,
                now_ms=now_ms,
            ),
        )

    def _report(self, submission: Submission, state: str) -> None:
        log.info("uncertain submission settled", submission=submission.id, state=state)
        self._database.wakeups.wake("events", "submissions")

    def _ended_ms(self, submission: Submission) -> int:
        """When the upstream has certainly finished with its request."""
        upstream = self._clients[submission.upstream].upstream
        return could_have_ended_ms(
            submission,
            timeout_ms=int(1000 * upstream.timeout_s),
            margin_ms=int(1000 * upstream.settle_after_s),
            slowest_ms=self._habits.get(upstream.name, ListFacts()).slowest_ms,
            may_open_modal=_kind_pressed(submission) not in ("", "upscale"),
        )

    def _is_due(self, pending: Pending) -> bool:
        return self._due_ms(pending) <= self._clock()

    def _due_ms(self, pending: Pending) -> int:
        submission = pending.uncertain.submission
        return next_look_ms(
            uncertain_since_ms=submission.updated_at_ms,
            looked_ms=pending.looked_ms,
            looks=pending.looks,
            ended_ms=self._ended_ms(submission),
            now_ms=self._clock(),
        )

    def _wake_in_time(self) -> None:
        """Wake the loop when the next submission is due, if that is before the next turn."""
        waits_ms = [self._due_ms(pending) - self._clock() for pending in self._open.values()]
        soon_ms = min((wait for wait in waits_ms if wait > 0), default=None)
        if soon_ms is not None and soon_ms < 1000 * TURN_S:
            self.loop.wake_after(soon_ms / 1000)


def _kind_pressed(submission: Submission) -> str:
    """The kind of button that it presses; "" if it presses none."""
    if not submission.request:
        return ""
    request = decode_request(submission.request)
    return Button(custom_id=request.custom_id).kind if isinstance(request, Action) else ""
