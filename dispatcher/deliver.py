"""Loop: events → one delivery per receiver → run → its outcome and what it asked for, committed together.

Fan-out and claim share a transaction, which also is the one that wrote the event when it is gathered at the same
moment; and what a receiver stages is claimed for sending in the transaction that stages it. So a callback costs two
commits before its follow-up leaves.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from dispatcher.backoff import delay_s, jittered_ms
from dispatcher.budget import Budget, refusal
from dispatcher.chain import Place
from dispatcher.context import Context, context_of
from dispatcher.errors import GiveUp, Retry
from dispatcher.membership import Membership
from dispatcher.receivers import DEFAULTS, Receiver, Registry
from dispatcher.submit import Clock, Submitter
from dispatcher.supervisor import Loop, in_thread, until_durable
from dispatcher.verify import Refuted, Verifier
from midjourney.errors import ProtocolError
from midjourney.types import Task
from storage import deliveries, endings, firings
from storage.endings import Finish
from storage.engine import Connection, Database
from storage.errors import LeaseLost, Unkeepable
from storage.firings import Limit
from storage.records import ChainUse, ClaimedDelivery, Delivery, PendingEvent, Staged
from storage.refute import REFUTED, Refutation

log = structlog.get_logger("hookchain")

EVENTS_A_TURN = 200
"""Events fanned out in one transaction."""

RUNNING_AT_ONCE = 64
"""Receivers running at the same time. The backlog stays in the table; only this window is in memory."""


ELSEWHERE_MS = 2_000
"""Pause before a delivery whose receiver another worker may have is offered again; it grows to a minute."""

UNKEPT = "cannot be kept"
"""Decision of a delivery whose run ended with something that the database does not take."""

DEPLOYED_WITHIN_MS = 600_000
"""How old such a delivery gets before its receiver counts as gone: deployments take minutes."""


class Deliverer:
    """Runs receivers, each delivery on its own: one that fails or hangs delays nobody else's."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        submitter: Submitter,
        verifier: Verifier,
        places: Mapping[str, Place],
        budget: Budget,
        clock: Clock,
        membership: Membership,
    ) -> None:
        self._database = database
        self._registry = registry
        self._submitter = submitter
        self._verifier = verifier
        self._places = places
        self._budget = budget
        self._clock = clock
        self._membership = membership
        self._running: Counter[str] = Counter()
        self.in_hand: Counter[int] = Counter()
        self.loop = Loop("deliver", self._turn)

    def _route(self, event: PendingEvent) -> tuple[str, ...]:
        return self._registry.listening(event.signal, event.action)

    async def _turn(self) -> None:
        if not self._membership.may_send():
            return  # what we took now, others would take from us
        free = RUNNING_AT_ONCE - self._running.total()
        running = self._running.copy()
        now_ms = self._clock()
        fanned, claimed = await self._database.write_together(
            (
                "fan_out",
                lambda connection: deliveries.fan_out(connection, self._route, EVENTS_A_TURN, now_ms),
            ),
            (
                "claim_delivery",
                lambda connection: deliveries.claim(
                    connection,
                    free,
                    now_ms,
                    room=lambda name: self._concurrency(name) - running[name],
                    worker=self._membership.name,
                ),
            ),
        )
        for one in claimed:
            self._running[one.delivery.receiver] += 1
            self.in_hand[one.delivery.id] += 1
            self.loop.spawn(self._deliver(one))
        if fanned == EVENTS_A_TURN or (free and len(claimed) == free):
            self.loop.wake()

    def _concurrency(self, name: str) -> int:
        receiver = self._registry.get(name)
        return (receiver.options if receiver is not None else DEFAULTS).concurrency

    async def _deliver(self, claimed: ClaimedDelivery) -> None:
        name = claimed.delivery.receiver
        try:
            ending = await self._run(claimed)
            await self._finish(claimed, ending)
        finally:
            others_waited = self._running.total() >= RUNNING_AT_ONCE or self._running[
                name
            ] >= self._concurrency(name)
            self._running[name] -= 1
            self.in_hand[claimed.delivery.id] -= 1
            self.in_hand = +self.in_hand
            if others_waited:
                self.loop.wake()

    async def _run(self, claimed: ClaimedDelivery) -> Finish:
        delivery = claimed.delivery
        receiver = self._registry.get(delivery.receiver)
        if receiver is None:
            return self._not_here(
                delivery, f"receiver {delivery.receiver!r} is not loaded: its plugin or rule is gone"
            )
        if claimed.event.upstream not in self._places:
            return self._not_here(delivery, f"upstream {claimed.event.upstream!r} is not configured any more")
        if delivery.attempts - delivery.excused > receiver.options.attempts:
            return Finish(
                state="dead", error="the process stopped during every attempt", decision="interrupted"
            )
        limit = receiver.options.limit
        if limit is not None and (reason := await self._database.read(partial(_spent, claimed, limit))):
            return Finish(state="done", decision=reason)
        self._count(claimed)
        try:
            context = context_of(claimed, self._places)
            await self._call(receiver, context)
        except GiveUp as error:
            return Finish(state="dead", decision=f"gave up: {error}", error=traceback.format_exc())
        except Retry as error:
            return self._again(receiver, claimed, error.after_s)
        except TimeoutError:
            return self._again(receiver, claimed, None)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # we are stopping; the next start runs it again
            return self._again(receiver, claimed, None)
        except (
            Exception,
            SystemExit,
        ):  # whatever a plugin raises is kept, and tried again; it must not end the server
            return self._again(receiver, claimed, None)
        ending = await self._verified(claimed, context)
        if ending.state != "done" or ending.refuted is not None:
            return ending
        return msgspec.structs.replace(ending, fired=context.chain.fired, limit=limit)

    def _count(self, claimed: ClaimedDelivery) -> None:
        """A receiver runs: how long that was waited for. The fan-out is part of the wait, so a first run waits from its event on."""
        delivery, now_ms = claimed.delivery, self._clock()
        is_first = delivery.run_at_ms == delivery.created_at_ms
        due_ms = claimed.event.received_at_ms if is_first else delivery.run_at_ms
        self._database.meter.count("deliveries", now_ms, 1000 * (now_ms - due_ms))

    def _not_here(self, delivery: Delivery, why: str) -> Finish:
        """During a deployment releases with other rules work side by side: another worker may have what we have not."""
        if self._membership.is_alone or self._clock() - delivery.created_at_ms > DEPLOYED_WITHIN_MS:
            return Finish(state="dead", error=why)
        pause_s = delay_s(delivery.excused + 1, first_s=ELSEWHERE_MS / 1000, ceiling_s=60.0)
        run_at_ms = self._clock() + jittered_ms(pause_s, luck=random.random())
        return Finish(state="waiting", excused=True, decision=f"waits: here {why}", run_at_ms=run_at_ms)

    async def _call(self, receiver: Receiver, context: Context) -> None:
        arguments = context.arguments()
        async with asyncio.timeout(receiver.options.timeout_s):
            if inspect.iscoroutinefunction(receiver.function):
                await receiver.function(context.action, **arguments)
            else:
                result = await in_thread(partial(receiver.function, context.action, **arguments))
                if inspect.isawaitable(result):
                    await result

    async def _verified(self, claimed: ClaimedDelivery, context: Context) -> Finish:
        """The end of a run that went well: what it asked for, if the upstream confirms what it was told."""
        staged = context.chain.staged
        try:
            await self._verifier.verify(claimed.event, context.task, staged)
        except Refuted as error:
            log.warning(
                "callback refuted", upstream=claimed.event.upstream, task=context.task.id, why=str(error)
            )
            return Finish(
                state="done", decision=f"refuted, nothing submitted: {error}", refuted=_as_told(error)
            )
        except ProtocolError as error:
            return self._unverified(claimed, error)
        return Finish(state="done", decision=context.chain.notes, staged=staged)

    def _unverified(self, claimed: ClaimedDelivery, error: ProtocolError) -> Finish:
        """The upstream cannot be asked whether the callback is true: nothing is spent, and it is asked again."""
        told = f"waits: the callback cannot be verified: {error}"
        log.warning(
            "callback not verified", upstream=claimed.event.upstream, delivery=claimed.delivery.id, why=told
        )
        delay = delay_s(claimed.delivery.excused + 1, first_s=1.0, ceiling_s=60.0)
        run_at_ms = self._clock() + jittered_ms(delay, luck=random.random())
        return Finish(state="waiting", decision=told, excused=True, run_at_ms=run_at_ms)

    def _again(self, receiver: Receiver, claimed: ClaimedDelivery, after_s: float | None) -> Finish:
        """Called while an exception is handled: its traceback is what is kept."""
        error = traceback.format_exc()
        attempt = claimed.delivery.attempts - claimed.delivery.excused
        log.warning(
            "receiver failed",
            receiver=receiver.name,
            delivery=claimed.delivery.id,
            attempt=attempt,
            error=error.strip().splitlines()[-1],
        )
        if attempt >= receiver.options.attempts:
            return Finish(state="dead", decision=f"failed {attempt} times", error=error)
        delay = delay_s(attempt) if after_s is None else after_s
        wait_ms = jittered_ms(delay, luck=random.random() if after_s is None else 0.5)
        return Finish(
            state="waiting", decision="failed, tried again", error=error, run_at_ms=self._clock() + wait_ms
        )

    async def _finish(self, claimed: ClaimedDelivery, ending: Finish) -> None:
        claim = [self._submitter.claim] if ending.staged else []
        units = [("finish_delivery", self._finishing(claimed, ending)), *claim]
        try:
            results = await until_durable(lambda: self._database.write_together(*units))
        except LeaseLost as error:
            log.warning("delivery was finished by somebody else", why=str(error))
            return
        except Exception as error:  # the same run would end the same way: it must not be left running
            if ending.decision == UNKEPT:
                raise
            await self._finish(claimed, _unkept(ending, error))
            return
        if claim:
            self._submitter.accept(results[1])
        if results[0]:
            self.loop.wake()
        if ending.state == "waiting":
            self.loop.wake_after((ending.run_at_ms - self._clock()) / 1000)
        log.info(
            "delivery",
            delivery=claimed.delivery.id,
            receiver=claimed.delivery.receiver,
            signal=claimed.event.signal,
            upstream=claimed.event.upstream,
            task=claimed.event.task_id,
            state=ending.state,
            decision=ending.decision,
        )

    def _finishing(self, claimed: ClaimedDelivery, ending: Finish) -> Callable[[Connection], Any]:
        now_ms = self._clock()

        def refuse(use: ChainUse, staged: Staged) -> str:
            return refusal(use, staged, self._budget)

        return lambda connection: endings.finish(connection, claimed, ending, refuse=refuse, now_ms=now_ms)


def _spent(claimed: ClaimedDelivery, limit: Limit, connection: Connection) -> str:
    return firings.reached(connection, claimed.delivery.receiver, limit, endings.subject_of(claimed))


def _unkept(ending: Finish, error: Exception) -> Finish:
    """The end of a run whose own end cannot be kept, in characters that every database takes. Called while the exception
    is handled."""
    why = str(error) if isinstance(error, Unkeepable) else traceback.format_exc()
    told = f"{ending.error}{why}".encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return Finish(state="dead", decision=UNKEPT, error=told)


def _as_told(error: Refuted) -> Refutation:
    """What a refuted task is put back to: where the upstream says it is."""
    told: Task | None = error.task
    return Refutation(
        reason=str(error),
        status=REFUTED if told is None else told.status,
        progress=-1 if told is None or told.progress is None else told.progress,
        is_finished=told is None or told.is_finished,
    )
