"""Loop: submissions that are due → an attempt on disk → one request → its outcome as an event.

The only part that spends money. An attempt is committed before its request leaves; how it ended is committed with the
tasks it made. A process that dies in between leaves "sending", which is never sent again without evidence.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from dispatcher import limits
from dispatcher.answered import ended
from dispatcher.outcomes import (
    action_made,
    after_answer,
    after_invalid,
    after_not_sent,
    after_silence,
)
from dispatcher.supervisor import Loop, until_durable, uptime_s
from midjourney.client import Client
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.requests import (
    Request,
    decode_request,
)
from storage import submissions, upstreams
from storage.engine import Connection, Database
from storage.errors import LeaseLost, NotDurable, Unkeepable
from storage.records import Submission
from storage.settlements import Settlement
from storage.writer import Work

log = structlog.get_logger("hookchain")

Clock = Callable[[], int]
"""Epoch milliseconds."""

HookFor = Callable[[str, str], Awaitable[str]]
"""The notifyHook for (upstream, submission id); "" for none."""


class Claimed(msgspec.Struct, frozen=True):
    """Submissions to send, and in how many milliseconds to look again; None when nothing more is to be expected.

    `until_s` is until when they may leave: how long the others believed that we live when they were claimed. Whatever
    they believe later, these may have been given up in between.
    """

    begun: list[Submission]
    again_ms: int | None
    until_s: float = 0.0


BUSY_ELSEWHERE_MS = 20
"""Pause before an upstream is looked at again that another process was claiming for."""


class Submitter:
    """Sends submissions, at each upstream no more than all processes together may.

    `worker` is our name in the database; `believed_until_s` tells, by `uptime_s`, until when the others believe that
    we live.
    """

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        hook_for: HookFor,
        clock: Clock,
        worker: str = "",
        believed_until_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._database = database
        self._clients = clients
        self._hook_for = hook_for
        self._clock = clock
        self._worker = worker
        self._believed_until_s = believed_until_s
        self.in_hand: Counter[str] = Counter()
        self.loop = Loop("submit", self._turn)

    @property
    def claim(self) -> tuple[str, Work]:
        """The transaction unit that takes what is due, to share the transaction of what was just staged.

        What it returns must be given to `accept`.
        """
        return "begin_attempt", self._begin

    def _begin(self, connection: Connection) -> Claimed:
        until_s = self._believed_until_s()
        if self.loop.is_stopping or uptime_s() >= until_s:
            return Claimed([], None)
        now_ms = self._clock()  # not earlier: what was staged a moment ago is due as well
        if not submissions.is_any_due(connection, now_ms):
            return Claimed([], None)
        held = upstreams.held_for_claim(connection, self._clients)
        plans = any(self._clients[name].upstream.jobs for name in held)
        loads = upstreams.loads(connection, held, with_jobs=plans)
        begun: list[Submission] = []
        again_ms = [BUSY_ELSEWHERE_MS] if len(held) < len(self._clients) else []
        for name, standing in held.items():
            upstream = self._clients[name].upstream
            most = limits.places(upstream, standing, loads[name], now_ms)
            found = (
                submissions.begin_attempts(connection, name, most, now_ms, worker=self._worker)
                if most
                else []
            )
            after = limits.spent(upstream, standing, len(found), now_ms)
            if after != standing:
                upstreams.save(connection, after)
            if until_ms := limits.closed_until_ms(upstream, after, now_ms):
                again_ms.append(until_ms - now_ms)
            begun += found
        return Claimed(begun, min(again_ms, default=None), until_s)

    def accept(self, claimed: Claimed) -> None:
        """Send what a claim found."""
        for submission in claimed.begun:
            self.in_hand[submission.id] += 1
            self.loop.spawn(self._attempt(submission, claimed.until_s))
        if claimed.again_ms is not None:
            self.loop.wake_after(claimed.again_ms / 1000)

    async def _turn(self) -> None:
        self.accept(await self._database.write(*self.claim))

    async def _attempt(self, submission: Submission, until_s: float) -> None:
        try:
            request = decode_request(submission.request)
            settlement = await self._sent(submission, request, until_s)
            await self._settle(submission, request, settlement)
        finally:
            self.in_hand[submission.id] -= 1
            self.in_hand = +self.in_hand

    async def _sent(self, submission: Submission, request: Request, until_s: float) -> Settlement:
        """How the request ended; whatever else goes wrong on the way, nobody may be left "sending"."""
        try:
            return await self._send(submission, request, until_s)
        except Exception as error:
            log.exception("a request ended in an error of ours", submission=submission.id)
            return after_silence(f"an error of ours: {error!r}"[:500])

    async def _send(self, submission: Submission, request: Request, until_s: float) -> Settlement:
        client = self._clients[submission.upstream]
        may_leave = None if until_s == math.inf else lambda: uptime_s() < until_s
        try:
            hook = await self._hook_for(submission.upstream, submission.id)
            left_ms = self._clock()
            reply = await client.submit(request, notify_hook=hook, state=submission.id, may_leave=may_leave)
        except InvalidRequest as error:
            return after_invalid(str(error))
        except (NotSent, NotDurable) as error:
            return after_not_sent(submission, str(error), now_ms=self._clock(), luck=random.random())
        except NoAnswer as error:
            self._count(submission, left_ms)
            return after_silence(str(error))
        self._count(submission, left_ms)
        return after_answer(
            submission,
            reply.verdict,
            told=reply.told,
            http_status=reply.status,
            body=reply.body,
            action=action_made(request),
            now_ms=self._clock(),
            luck=random.random(),
        )

    def _count(self, submission: Submission, left_ms: int) -> None:
        """It was sent: how long it had waited by then."""
        self._database.meter.count("submissions", left_ms, 1000 * (left_ms - submission.run_at_ms))

    async def _settle(self, submission: Submission, request: Request, settlement: Settlement) -> None:
        """Write down how it ended, and take what its place is free for."""
        now_ms = self._clock()
        settle = ended(submission, request, settlement, now_ms)
        units = (("settle_attempt", settle), self.claim)
        try:
            run_at_ms, claimed = await until_durable(lambda: self._database.write_together(*units))
        except Unkeepable as error:
            if settlement.state == "uncertain":
                raise
            await self._settle(
                submission, request, after_silence(f"the answer cannot be kept: {error}"[:500])
            )
            return
        except LeaseLost as error:
            run_at_ms, claimed = 0, Claimed([], 0)
            log.info("answer came after proof", submission=submission.id, why=str(error))
        self.accept(claimed)
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
        if run_at_ms:
            self.loop.wake_after((run_at_ms - now_ms) / 1000)
