"""Verifies callbacks: a callback is only a hint, so receivers get the task as read back from the upstream.

Callbacks are unsigned, and each payload contains the hook's URL. One readback serves all receivers of an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from functools import partial

import msgspec

from dispatcher.policy.contradictions import contradiction, may_be_behind
from dispatcher.runs.readback import Readback
from midjourney.errors import NotSent
from storage.records import ClaimedDelivery, Event
from storage.tasks.believe import TaskReport

AGAIN_AFTER_S = 1.0
"""Seconds before an upstream that is behind its own callback is asked again: some are, right after SUCCESS (novicezk issue
252)."""

REMEMBERED = 1000
REMEMBERED_BYTES = 16 * 1024 * 1024
"""The most events whose answers are cached for their other deliveries, and the most bytes of these answers together."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery and what the upstream says about it; `answer` is None if it was not asked. The receiver must not run if the
    upstream contradicts the callback (`refuted` says how), or if the task ended before hookchain began to listen
    (`is_history`)."""

    claimed: ClaimedDelivery
    answer: TaskReport | None = None
    refuted: str = ""
    is_history: bool = False


class Verifier:
    """Reads tasks back from upstreams that are not `trusted`."""

    def __init__(self, readbacks: Mapping[str, Readback], trusted: Container[str]) -> None:
        self._readbacks = readbacks
        self._trusted = trusted
        self._answers: dict[int, asyncio.Task[TaskReport]] = {}
        self._bytes = 0

    async def check(self, claimed: ClaimedDelivery) -> Checked:
        """Put the upstream's own task into the delivery.

        Raises `ProtocolError` if the upstream does not answer: then the receiver must not run yet.
        """
        event = claimed.event
        if event.provenance == "refuted":
            return Checked(claimed=claimed, refuted="the upstream contradicted it")
        claimed = await self._with_root(claimed)
        if event.upstream in self._trusted or not event.task_id:
            return Checked(claimed=claimed)
        if claimed.is_parent_unverified and claimed.task is not None:
            parent = (await self._readbacks[event.upstream].ask(claimed.task.parent_id)).task
            claimed = msgspec.structs.replace(claimed, parent=b"" if parent is None else parent.raw)
        if not claimed.is_unverified:
            return Checked(claimed=claimed)
        readback = self._readbacks[event.upstream]
        if readback.began_ms is None:
            raise NotSent("the history of the upstream is not known yet")
        answer = await asyncio.shield(self._asked(readback, claimed))
        return _compared(claimed, answer)

    async def _with_root(self, claimed: ClaimedDelivery) -> ClaimedDelivery:
        """The delivery with the first task of its chain as its upstream shows it. An upstream that is gone cannot be asked: then the
        payload is unknown."""
        root = claimed.root
        if root is None or root.task is None or not root.is_unverified or root.task.upstream in self._trusted:
            return claimed
        readback, payload = self._readbacks.get(root.task.upstream), b""
        if readback is not None:
            is_known = root.submission is not None or root.task.confirmed
            shown = (await readback.ask(root.task.id, is_known=is_known)).task
            payload = b"" if shown is None else shown.raw
        verified = msgspec.structs.replace(root, payload=payload, is_unverified=False)
        return msgspec.structs.replace(claimed, root=verified)

    def _asked(self, readback: Readback, claimed: ClaimedDelivery) -> asyncio.Task[TaskReport]:
        event = claimed.event
        known = self._answers.get(event.id)
        if known is None:
            is_ours = claimed.task is not None and claimed.task.submission_id is not None
            ask = partial(readback.ask, is_known=True) if is_ours else readback.ask_with_list
            known = asyncio.create_task(_ask(ask, event))
            self._answers[event.id] = known
            known.add_done_callback(partial(self._remember, event.id))
        return known

    def _remember(self, event_id: int, answering: asyncio.Task[TaskReport]) -> None:
        """Cache an answer while there is room. Failures are not cached: the next delivery asks again."""
        if answering.cancelled() or answering.exception() is not None:
            del self._answers[event_id]
            return
        self._bytes += _size(answering)
        while len(self._answers) > REMEMBERED or self._bytes > REMEMBERED_BYTES:
            done = next((event for event, answer in self._answers.items() if answer.done()), None)
            if done is None:
                return
            self._bytes -= _size(self._answers.pop(done))


def _compared(claimed: ClaimedDelivery, answer: TaskReport) -> Checked:
    """Compare a delivery with the upstream's answer, and put the upstream's task into it."""
    event, row, task = claimed.event, claimed.task, answer.task
    claimed = msgspec.structs.replace(claimed, latest=b"" if task is None else task.raw)
    if event.provenance != "callback":  # the event is ours; only the task's payload came from a callback
        return Checked(claimed=claimed, answer=answer if task is not None else None)
    is_ours = row is not None and row.submission_id is not None
    if task is not None and task.id not in ("", event.task_id) and not is_ours:
        # Its deliveries run under that id. Running them under this one too would pay twice.
        return Checked(claimed=claimed, answer=answer, refuted=f"the upstream calls this task {task.id}")
    if reason := contradiction(event, task):
        return Checked(claimed=claimed, answer=answer, refuted=reason)
    confirmed = msgspec.structs.replace(event, provenance="confirmed")
    claimed = msgspec.structs.replace(claimed, event=confirmed)
    is_known = is_ours or (row is not None and row.created_at_ms < event.received_at_ms)
    return Checked(claimed=claimed, answer=answer, is_history=answer.is_history and not is_known)


def _size(answering: asyncio.Task[TaskReport]) -> int:
    answer = answering.result()
    shown = [*([answer.task] if answer.task is not None else []), *answer.listed]
    return sum(len(task.raw) for task in shown)


async def _ask(ask: Callable[[str], Awaitable[TaskReport]], event: Event) -> TaskReport:
    answer = await ask(event.task_id)
    # Waiting does not make an invented task known, and a thousand of them must not delay others.
    if answer.task is None or event.provenance != "callback" or not may_be_behind(event, answer.task):
        return answer
    await asyncio.sleep(AGAIN_AFTER_S)
    return msgspec.structs.replace(await ask(event.task_id), is_certain=True)
