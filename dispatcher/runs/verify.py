"""Decides from the upstream's own task whether a receiver that can spend or reach other systems may be called."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext

import msgspec
import structlog

from dispatcher.plugins.receivers import Receiver
from dispatcher.policy import run_endings
from dispatcher.runs.active_runs import ActiveRuns
from dispatcher.runs.preflight import Ready
from dispatcher.runs.verifier import Checked, Verifier
from midjourney.errors import ProtocolError
from storage.deliveries.endings import Ended
from storage.log_lines import LogLines
from storage.records import ClaimedDelivery, Event
from storage.tasks.believe import TaskReport

log = structlog.get_logger("hookchain")


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery whose receiver may be called. `answer` is what the upstream said, None if it was not asked."""

    receiver: Receiver
    claimed: ClaimedDelivery
    answer: TaskReport | None = None


class Verify:
    """The second stage of a run."""

    def __init__(self, verifier: Verifier, active_runs: ActiveRuns, clock: Callable[[], int]) -> None:
        self._verifier = verifier
        self._active_runs = active_runs
        self._clock = clock
        self._refuted_lines = LogLines()
        self._unverified_lines = LogLines()

    async def check(self, ready: Ready) -> Verified | Ended:
        """Put the upstream's own task into the delivery. Returns how the delivery ends if its receiver must not be called."""
        receiver, claimed = ready.receiver, ready.claimed
        if receiver.options.pure:
            return Verified(receiver=receiver, claimed=claimed)
        is_unknown = claimed.is_task_unverified
        if is_unknown and self._active_runs.is_crowded(receiver.name):
            return run_endings.crowded(claimed.delivery, self._clock(), random.random())
        try:
            with self._active_runs.asking(receiver.name) if is_unknown else nullcontext():
                checked = await self._verifier.check(claimed)
        except ProtocolError as error:
            return self._unverified(claimed, error)
        if checked.refuted:
            return self._refuted(claimed.event, checked)
        if checked.is_history:
            return self._history(claimed.event, checked)
        return Verified(receiver=receiver, claimed=checked.claimed, answer=checked.answer)

    def _unverified(self, claimed: ClaimedDelivery, error: ProtocolError) -> Ended:
        ending = run_endings.unverified(claimed.delivery, error, self._clock(), random.random())
        if (left_out := self._unverified_lines.take()) is not None:
            log.warning(
                "callback not verified",
                upstream=claimed.event.upstream,
                delivery=claimed.delivery.id,
                why=ending.decision,
                lines_left_out=left_out,
            )
        return ending

    def _refuted(self, event: Event, checked: Checked) -> Ended:
        if (left_out := self._refuted_lines.take()) is not None:
            log.warning(
                "callback refuted",
                upstream=event.upstream,
                task=event.task_id,
                why=checked.refuted,
                lines_left_out=left_out,
            )
        return run_endings.refuted(checked.refuted, checked.answer)

    def _history(self, event: Event, checked: Checked) -> Ended:
        log.warning(
            "receivers do not run for a task that ended before hookchain began to listen",
            upstream=event.upstream,
            task=event.task_id,
            cure="check the upstream's clock, or raise news_within_s",
        )
        return run_endings.history(checked.answer)
