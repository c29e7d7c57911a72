"""Loop: submissions that are due → an attempt on disk → one request → its outcome as an event.

This is the only part that spends money. An attempt is committed before its request leaves; its end is committed together with the
tasks it made. If a process dies in between, the submission stays "sending", and is never sent again without evidence.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

from dispatcher.loops.loop import Loop, until_durable
from dispatcher.plugins.vetoes import Leaving, Vetoes
from dispatcher.policy import upstream_limits
from dispatcher.policy.outcomes import action_made, after_failed_veto, after_silence, after_veto, settle
from dispatcher.settling import Elsewhere, Sent, settle_all
from midjourney.client import Client, Reply
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.requests import (
    Request,
    decode_request,
)
from storage.clock import Clock, uptime_s
from storage.engine import Closing, Connection, Database, Step
from storage.errors import LeaseLost, NotDurable, Unkeepable
from storage.records import Submission
from storage.submissions import request_count, submission_queue
from storage.submissions.departures import Departures
from storage.submissions.request_count import Generation, GenerationFile
from storage.submissions.settlements import Settlement
from storage.upstreams import standings

log = structlog.get_logger("hookchain")

HookFor = Callable[[str, str], Awaitable[str]]
"""Returns the notifyHook for (upstream, submission id); "" for none."""


class Settled(msgspec.Struct, frozen=True):
    """A settlement that is committed: when to submit again (epoch ms, 0 for never), and what to write beside the database."""

    run_at_ms: int
    generation: Generation | None


class Claimed(msgspec.Struct, frozen=True):
    """Submissions to send, and in how many milliseconds to look again; None if nothing else will be due.

    They may leave until `until_s`: at the claim, the other processes counted this one as alive until then. Later they may
    belong to another. `generation` is written beside the database before they leave.
    """

    begun: list[Submission]
    again_ms: int | None
    until_s: float = 0.0
    generation: Generation | None = None


BUSY_ELSEWHERE_MS = 20
"""Pause before claiming again from an upstream whose row another process holds."""


class Submitter:
    """Sends submissions, within the limits of each upstream, which all processes share.

    `elsewhere` moves orders of clients to other accounts. `departures` notes which requests leave. `worker` is the name of this process in the database; `may_send_until_s` returns
    until when, by `uptime_s`, the others count it as alive. `vetoes` may be set before it starts.
    """

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        hook_for: HookFor,
        clock: Clock,
        departures: Departures,
        worker: str = "",
        may_send_until_s: Callable[[], float] = lambda: math.inf,
        generation_file: GenerationFile | None = None,
        may_submit: Callable[[str], bool] = lambda _: True,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._database = database
        self._clients = clients
        self._hook_for = hook_for
        self._clock = clock
        self._departures = departures
        self._worker = worker
        self._may_send_until_s = may_send_until_s
        self._generation_file = generation_file
        self._may_submit = may_submit
        self.vetoes: Vetoes | None = None
        self.in_hand: Counter[str] = Counter()
        self.loop = Loop("submit", self._turn)
        self._settling = Step("settle_attempt", self._settle_all)
        self.claim = Closing("begin_attempt", self._begin, self._claimed)
        """For the end of a transaction that makes something due; it spares a commit."""

    def _claimed(self, claimed: Claimed | Exception) -> None:
        if isinstance(claimed, Exception):
            log.error("could not claim what is due; the loop tries again", why=str(claimed))
            self.loop.wake()
        else:
            self.accept(claimed)

    def _begin(self, connection: Connection) -> Claimed:
        until_s = self._may_send_until_s()
        if self.loop.is_stopping or uptime_s() >= until_s:
            return Claimed([], None)
        now_ms = self._clock()  # read in the transaction, so that what it has just staged is due as well
        if not submission_queue.is_any_due(connection, now_ms):
            return Claimed([], None)
        names = [name for name in self._clients if self._may_submit(name)]
        held = standings.held_for_claim(connection, names)
        plans = any(self._clients[name].upstream.jobs for name in held)
        loads = standings.loads(connection, held, with_jobs=plans)
        begun: list[Submission] = []
        generation: Generation | None = None
        again_ms = [BUSY_ELSEWHERE_MS] if len(held) < len(names) else []
        for name, standing in held.items():
            upstream = self._clients[name].upstream
            most = upstream_limits.places(upstream, standing, loads[name], now_ms)
            claimed = (
                submission_queue.begin_attempts(connection, name, most, now_ms, worker=self._worker)
                if most
                else []
            )
            after = upstream_limits.after_requests(upstream, standing, len(claimed), now_ms)
            if claimed:
                after = msgspec.structs.replace(after, left_at_ms=now_ms)
            if after != standing:
                standings.save(connection, after)
            if until_ms := upstream_limits.closed_until_ms(upstream, after, now_ms):
                again_ms.append(until_ms - now_ms)
            if self._generation_file is not None and claimed:
                without_task = sum(not _may_make_a_task(submission) for submission in claimed)
                generation = request_count.add(connection, name, begun=len(claimed), undone=without_task)
            begun += claimed
        return Claimed(begun, min(again_ms, default=None), until_s, generation)

    def accept(self, claimed: Claimed) -> None:
        """Send the submissions of a claim."""
        self._show(claimed.generation)
        for submission in claimed.begun:
            self.in_hand[submission.id] += 1
            self.loop.spawn(self._attempt(submission, claimed.until_s))
        if claimed.again_ms is not None:
            self.loop.wake_after(claimed.again_ms / 1000)

    async def _turn(self) -> None:
        self.accept(await self._database.write(self.claim.name, self._begin))

    async def _attempt(self, submission: Submission, until_s: float) -> None:
        try:
            request = decode_request(submission.request)
            settlement = await self._sent(submission, request, until_s)
            await self._settle(submission, request, settlement)
            self._departures.has_ended(submission)
        finally:
            self.in_hand[submission.id] -= 1
            if not self.in_hand[submission.id]:
                del self.in_hand[submission.id]

    async def _sent(self, submission: Submission, request: Request, until_s: float) -> Settlement:
        """Send the request, and return the settlement of its attempt. Even if this code fails, the attempt must not stay "sending"."""
        try:
            if (objection := await self._objection(submission, request)) is not None:
                return objection
            end = await self._send(submission, request, until_s)
            return settle(submission, request, end, now_ms=self._clock(), luck=random.random())
        except Exception as error:
            log.exception("an internal error ended a request", submission=submission.id)
            return after_silence(f"internal error: {error!r}"[:500])

    async def _objection(self, submission: Submission, request: Request) -> Settlement | None:
        """The settlement of an attempt that a plugin does not want to leave. A cancel costs nothing, so no plugin is asked."""
        if self.vetoes is None or submission.kind == "cancel" or not self.vetoes.are_wanted():
            return None
        prompt = str(getattr(request, "prompt", ""))
        leaving = Leaving(action=action_made(request), submission=submission, prompt=prompt)
        objection = await self.vetoes.objection(leaving)
        if objection is None:
            return None
        if objection.kind == "veto":
            return after_veto(objection.reason)
        return after_failed_veto(submission, objection.reason, now_ms=self._clock(), luck=random.random())

    async def _send(
        self, submission: Submission, request: Request, until_s: float
    ) -> Reply | InvalidRequest | NotSent | NotDurable | NoAnswer:
        """The upstream's reply, or the error that came instead."""
        client = self._clients[submission.upstream]
        may_leave = None if until_s == math.inf else lambda: uptime_s() < until_s
        try:
            hook = await self._hook_for(submission.upstream, submission.id)
            left_ms, left_ns = self._clock(), time.perf_counter_ns()
            if not self._departures.leaves(submission):
                raise NotSent("hookchain could not note on disk that the request leaves")
            reply = await client.submit(
                request,
                notify_hook=hook,
                state=submission.id,
                mode=submission.mode,
                may_leave=may_leave,
            )
        except (InvalidRequest, NotSent, NotDurable) as error:
            return error
        except NoAnswer as error:
            self._count(submission, left_ms, left_ns)
            return error
        self._count(submission, left_ms, left_ns)
        return reply

    def _count(self, submission: Submission, left_ms: int, left_ns: int) -> None:
        """Count a submission that was sent, how long it waited until then, and how long its answer took."""
        self._database.timings.submissions.add((time.perf_counter_ns() - left_ns) // 1000)
        self._database.meter.count("submissions", left_ms, 1000 * (left_ms - submission.run_at_ms))

    def _settle_all(self, connection: Connection, sent: Sequence[Sent]) -> Sequence[Settled | Exception]:
        results = settle_all(connection, sent, self._elsewhere)
        undone = Counter(
            one.submission.upstream
            for one, result in zip(sent, results, strict=True)
            if not isinstance(result, Exception) and _made_no_task(one)
        )
        generation: Generation | None = None
        for name, count in undone.items() if self._generation_file is not None else ():
            generation = request_count.add(connection, name, undone=count)
        return [
            result if isinstance(result, Exception) else Settled(result, generation) for result in results
        ]

    def _show(self, generation: Generation | None) -> None:
        """Write beside the database how many requests have begun. A number that is too low is harmless, so an error is only logged."""
        if self._generation_file is None or generation is None:
            return
        try:
            self._generation_file.write(generation)
        except OSError as error:
            log.error("a restored database may not be recognised", why=str(error))

    async def _settle(self, submission: Submission, request: Request, settlement: Settlement) -> None:
        """Commit how the attempt ended, and send what there is room for now."""
        try:
            again_ms = await self._write(submission, request, settlement)
        except Unkeepable as error:
            if settlement.state == "uncertain":
                raise
            settlement = after_silence(f"the answer cannot be stored: {error}"[:500])
            again_ms = await self._write(submission, request, settlement)
        log.info(
            "submission",
            submission=submission.id,
            upstream=submission.upstream,
            kind=submission.kind,
            label=submission.label,
            attempt=submission.attempts,
            state=settlement.state,
            reason=settlement.reason,
        )
        self._database.wakeups.wake("events")
        if again_ms is not None:
            self.loop.wake_after(again_ms / 1000)

    async def _write(self, submission: Submission, request: Request, settlement: Settlement) -> float | None:
        """Commit a settlement, and claim what is due by then. Returns when to look again, in milliseconds."""
        sent = Sent(submission, request, settlement, self._clock())
        try:
            settled = await until_durable(lambda: self._database.step(self._settling, sent, self.claim))
        except LeaseLost as error:
            log.info(
                "the answer came after the submission had been settled",
                submission=submission.id,
                why=str(error),
            )
            return 0
        self._show(settled.generation)
        return settled.run_at_ms - sent.now_ms if settled.run_at_ms else None


def _made_no_task(sent: Sent) -> bool:
    """True if it is certain that an attempt made no task."""
    is_certain = sent.settlement.state not in ("accepted", "needs_modal", "uncertain")
    return is_certain and _may_make_a_task(sent.submission)


def _may_make_a_task(submission: Submission) -> bool:
    """False for the answer to a modal, whose job runs under the modal's own id, and for a cancel."""
    return submission.kind not in ("modal", "cancel")
