"""Calls the receiver of a delivery, and returns what it staged and how it ended as one value."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import structlog

from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.context import Context, context_of
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.receivers import Receiver
from dispatcher.plugins.running import for_other_loops
from dispatcher.policy import run_endings
from dispatcher.policy.contradictions import unoffered
from dispatcher.runs.verify import Verified
from storage.deliveries.endings import Ended
from storage.histogram import Histogram

log = structlog.get_logger("hookchain")


class Runs(Protocol):
    """Runs receivers, as `dispatcher.plugins.running.Runner` does."""

    async def run(self, receiver: Receiver, context: Context) -> None:
        """Run a receiver to its end. Raises what it raises."""


class Call:
    """The last stage of a run. Receivers in other loops get their own handles, since connections belong to one loop.

    `durations` collects how long each run took.
    """

    def __init__(
        self,
        runner: Runs,
        handles: Mapping[str, UpstreamHandle],
        clock: Callable[[], int],
        durations: Histogram,
        chain_type: type[Chain] = Chain,
    ) -> None:
        self._chain_type = chain_type
        self._runner = runner
        self._durations = durations
        self._handles = handles
        self._handles_elsewhere = for_other_loops(handles)
        self._clock = clock

    async def run(self, verified: Verified) -> Ended:
        """Call the receiver, and return how its run ended, together with what the upstream answered before."""
        try:
            ending = _returned(verified, await self._called(verified))
        except BaseException as error:  # anything a receiver raises is its own failure only
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise  # this process is stopping; the next one runs the delivery again
            ending = self._failed(verified, error)
        return msgspec.structs.replace(ending, report=verified.answer)

    async def _called(self, verified: Verified) -> Context:
        receiver = verified.receiver
        handles = self._handles if receiver.options.harmless else self._handles_elsewhere
        context = context_of(verified.claimed, handles, chain_type=self._chain_type)
        with self._durations.timed():
            await self._runner.run(receiver, context)
        return context

    def _failed(self, verified: Verified, error: BaseException) -> Ended:
        receiver, delivery = verified.receiver, verified.claimed.delivery
        if not isinstance(error, GiveUp):
            log.warning(
                "receiver failed",
                receiver=receiver.name,
                delivery=delivery.id,
                attempt=delivery.tries,
                error=traceback.format_exception_only(error)[-1].strip(),
            )
        return run_endings.failed(delivery, receiver.options.attempts, error, self._clock(), random.random())


def _returned(verified: Verified, context: Context) -> Ended:
    """The submissions that the receiver staged, unless the upstream's task does not offer one of them, and what it keeps in `chain.store`.
    Raises `GiveUp` if that cannot be stored."""
    chain = context.chain
    if verified.answer is not None and (reason := unoffered(context.task, chain.staged)):
        return Ended(state="done", decision=f"nothing submitted: {reason}")
    options, kept = verified.receiver.options, chain.store_change()
    notes = "; ".join(part for part in (chain.notes, kept.told if kept is not None else "") if part)
    return Ended(
        state="done",
        decision=_needing_approval(notes) if options.terms is not None and chain.staged else notes,
        staged=chain.staged,
        fired=chain.fired,
        limit=options.limit,
        terms=options.terms,
        store=kept,
    )


def _needing_approval(notes: str) -> str:
    return f"{notes}; new submissions are held until somebody approves them"


def _is_cancelled() -> bool:
    """True if this task is being cancelled; False if only a receiver raised `CancelledError`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
