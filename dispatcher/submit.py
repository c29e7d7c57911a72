"""Loop: submissions that are due → an attempt on disk → one request → its outcome as an event.

The only part that spends money. An attempt is committed before its request leaves; how it ended is committed with the
tasks it made. A process that dies in between leaves "sending", which is never sent again without evidence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec
import structlog

from dispatcher.intent import key_of
from dispatcher.limits import FULL_HOLD_MS, Gate
from dispatcher.outcomes import (
    QUEUE_FULL_ATTEMPTS,
    after_answer,
    after_invalid,
    after_not_sent,
    after_silence,
    queue_full_delay_ms,
)
from dispatcher.supervisor import Loop, until_durable
from midjourney.buttons import Button, action_of
from midjourney.client import Client
from midjourney.codes import Outcome, Refusal
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.requests import (
    Action,
    Blend,
    Change,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    Shorten,
    SimpleChange,
    Swap,
    Video,
    as_change,
    decode_request,
    encode_request,
)
from storage import jobs, pauses, staging, submissions, windows
from storage.engine import Connection, Database
from storage.errors import LeaseLost
from storage.records import Staged, Submission
from storage.submissions import Settlement
from storage.writer import Work

log = structlog.get_logger("hookchain")

Clock = Callable[[], int]
"""Epoch milliseconds."""

HookFor = Callable[[str, str], str]
"""The notifyHook for (upstream, submission id)."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Places taken at each upstream for a claim that is on its way, and the transaction unit that makes it."""

    places: dict[str, int]
    unit: tuple[str, Work]


class Submitter:
    """Sends submissions, at each upstream no more at once than its concurrency."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        gates: Mapping[str, Gate],
        hook_for: HookFor,
        clock: Clock,
    ) -> None:
        self._database = database
        self._clients = clients
        self._hook_for = hook_for
        self._clock = clock
        self.gates = gates
        self._missed = False
        self.loop = Loop("submit", self._turn)

    def reserve(self) -> Claim:
        """Take all free places, for a claim that shares the transaction of what was just staged; none at the end.

        The claim must be given to `accept` with what the unit returned, or to `release` when it failed.
        """
        at_ms = self._clock()
        open_gates: Mapping[str, Gate] = {} if self.loop.is_stopping else self.gates
        places = {name: taken for name, gate in open_gates.items() if (taken := gate.take(at_ms))}
        self._missed = self._missed or len(places) < len(self.gates)

        def begin(connection: Connection) -> list[Submission]:
            now_ms = self._clock()  # not earlier: what was staged a moment ago is due as well
            paused = pauses.paused(connection)
            return [
                submission
                for name, most in places.items()
                if name not in paused and (room := self._room(connection, name, most)) > 0
                for submission in submissions.begin_attempts(connection, name, room, now_ms)
            ]

        return Claim(places=places, unit=("begin_attempt", begin))

    def _room(self, connection: Connection, name: str, most: int) -> int:
        """How many of the places may be used, where the plan has a limit of jobs."""
        allowed = self._clients[name].upstream.jobs
        return min(most, allowed - jobs.under_way(connection, name)) if allowed else most

    def accept(self, claim: Claim, begun: list[Submission]) -> None:
        """Send what a claim found and give its other places back."""
        left = dict(claim.places)
        for submission in begun:
            left[submission.upstream] -= 1
            self.loop.spawn(self._attempt(submission))
        self._give_back(left)

    def release(self, claim: Claim) -> None:
        """Give the places of a failed claim back."""
        self._give_back(claim.places)

    def _give_back(self, places: Mapping[str, int]) -> None:
        for name, count in places.items():
            self.gates[name].put_back(count)
        self._look_again()

    def _look_again(self) -> None:
        """Somebody found no place: there may be one now, or there will be when a gate opens."""
        if not self._missed:
            return
        self._missed = False
        now_ms = self._clock()
        closed = [gate.closed_until_ms(now_ms) for gate in self.gates.values()]
        if not all(closed):
            self.loop.wake()
        for until_ms in filter(None, closed):
            self.loop.wake_after((until_ms - now_ms) / 1000)

    async def _turn(self) -> None:
        claim = self.reserve()
        if not claim.places:
            return
        try:
            begun = await self._database.write(*claim.unit)
        except BaseException:
            self.release(claim)
            raise
        self.accept(claim, begun)

    async def _attempt(self, submission: Submission) -> None:
        try:
            request = decode_request(submission.request)
            settlement = await self._sent(submission, request)
            self._tell_gate(submission, settlement)
            await self._settle(submission, request, settlement)
        finally:
            self._missed = True
            self.gates[submission.upstream].done()
            self._look_again()

    async def _sent(self, submission: Submission, request: Request) -> Settlement:
        """How the request ended; whatever else goes wrong on the way, nobody may be left "sending"."""
        try:
            return await self._send(submission, request)
        except Exception as error:
            log.exception("a request ended in an error of ours", submission=submission.id)
            return after_silence(f"an error of ours: {error!r}"[:500])

    async def _send(self, submission: Submission, request: Request) -> Settlement:
        client = self._clients[submission.upstream]
        try:
            reply = await client.submit(
                request, notify_hook=self._hook_for(submission.upstream, submission.id), state=submission.id
            )
        except InvalidRequest as error:
            return after_invalid(str(error))
        except NotSent as error:
            return after_not_sent(submission, str(error), now_ms=self._clock(), luck=random.random())
        except NoAnswer as error:
            return after_silence(str(error))
        return after_answer(
            submission,
            reply.verdict,
            told=reply.told,
            http_status=reply.status,
            body=reply.body,
            action=_action_made(request),
            now_ms=self._clock(),
            luck=random.random(),
        )

    def _tell_gate(self, submission: Submission, settlement: Settlement) -> None:
        """What an answer, or none, means for everybody who waits for this upstream."""
        gate, now_ms = self.gates[submission.upstream], self._clock()
        if settlement.outcome == "invalid":
            gate.put_back(0)  # nothing was sent, nothing was learned
            return
        if settlement.outcome in ("not_sent", Outcome.UNCERTAIN):
            if gate.failed(now_ms):
                log.warning("breaker open", upstream=submission.upstream, why=settlement.reason)
            return
        if gate.breaker == "open":
            log.info("breaker closed", upstream=submission.upstream)
        gate.answered()
        if settlement.outcome == f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}":
            asked_ms = 0 if settlement.retry_after_s is None else int(1000 * settlement.retry_after_s)
            gate.hold(now_ms, asked_ms or FULL_HOLD_MS)

    async def _settle(self, submission: Submission, request: Request, settlement: Settlement) -> None:
        now_ms = self._clock()
        lost_window = isinstance(request, Modal) and _is_queue_full_23(settlement)

        def settle(connection: Connection) -> int:
            if lost_window:
                return windows.repeat_action(
                    connection,
                    submission,
                    settlement,
                    now_ms,
                    delay_ms=queue_full_delay_ms,
                    most=QUEUE_FULL_ATTEMPTS,
                )
            submissions.settle_attempt(connection, submission, settlement, now_ms)
            if settlement.state == "needs_modal":
                _answer_again(connection, submission, settlement, now_ms)
            return settlement.run_at_ms if settlement.state == "waiting" else 0

        try:
            run_at_ms = await until_durable(lambda: self._database.write("settle_attempt", settle))
        except LeaseLost as error:
            run_at_ms = 0
            log.info("answer came after proof", submission=submission.id, why=str(error))
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
        if settlement.state == "needs_modal":
            self._database.wakeups.wake("submissions")
        if run_at_ms:
            self.loop.wake_after((run_at_ms - now_ms) / 1000)


def _answer_again(connection: Connection, action: Submission, settlement: Settlement, now_ms: int) -> None:
    """A window that was opened again gets the answer that was lost with the first one, unless it has one already."""
    lost = windows.lost_answer(connection, action)
    if lost is None:
        return
    request = msgspec.structs.replace(decode_request(lost.request), task_id=settlement.task_ids[0])
    staged = Staged(
        idempotency_key=key_of(lost.upstream, request),
        chain_id=lost.chain_id,
        upstream=lost.upstream,
        kind=lost.kind,
        label=lost.label,
        request=encode_request(request),
        parent_id=settlement.task_ids[0],
        depth=lost.depth,
        asked_by=lost.asked_by,
    )
    staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)


_ACTIONS: dict[type, str] = {
    Imagine: "IMAGINE",
    Blend: "BLEND",
    Describe: "DESCRIBE",
    Shorten: "SHORTEN",
    Swap: "SWAP_FACE",
    Edit: "EDIT",
    Video: "VIDEO",
}
"""As Plus and trueai name them."""


def _action_made(request: Request) -> str:
    """The action of the task that a request makes, as Plus names it; "" where only its callback can tell."""
    match request:
        case Action():
            return action_of(Button(custom_id=request.custom_id).kind)
        case Change():
            return request.action
        case SimpleChange():
            return as_change(request).action
        case _:
            return _ACTIONS.get(type(request), "")


def _is_queue_full_23(settlement: Settlement) -> bool:
    """Plus 3.7.5 deletes the waiting MODAL task when its modal meets a full queue with code 23."""
    return settlement.outcome == f"{Outcome.REJECTED}:{Refusal.QUEUE_FULL}" and settlement.reason.startswith(
        "code 23"
    )
