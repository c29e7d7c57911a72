"""A callback's word is not enough to spend money on: before a follow-up, its task is read back from the upstream.

Nobody signs callbacks, and a hook's address stands in every payload. One question serves all follow-ups of one event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from midjourney.client import Client
from midjourney.lifecycle import advance, position_of
from midjourney.presses import with_buttons
from midjourney.requests import Action, decode_request
from midjourney.types import Status, Task
from storage.records import Event, Staged

AGAIN_AFTER_S = 1.0
"""Seconds before an upstream that is behind is asked once more: right after SUCCESS some are (novicezk issue 252)."""

REMEMBERED = 1000
"""Events whose answer is kept, for the deliveries of theirs that are still to come."""


class Refuted(Exception):
    """The upstream contradicts the callback. `task` is what it says instead; None when it knows no such task."""

    def __init__(self, reason: str, task: Task | None) -> None:
        super().__init__(reason)
        self.task = task


class _Answer(msgspec.Struct, frozen=True):
    reason: str
    task: Task | None


class Verifier:
    """Reads tasks back, at those upstreams that are not trusted."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = clients
        self._answers: OrderedDict[int, asyncio.Task[_Answer]] = OrderedDict()

    async def verify(self, event: Event, task: Task, staged: Sequence[Staged]) -> None:
        """Let what was asked for because of this event pass, or not.

        Raises `Refuted`; `ProtocolError` when the upstream cannot be asked: then nothing may be spent yet.
        """
        client = self._clients[event.upstream]
        if not staged or event.source != "callback" or client.upstream.verify == "trust":
            return
        answer = await asyncio.shield(self._asked(client, event, task))
        if answer.reason:
            raise Refuted(answer.reason, answer.task)
        if answer.task is not None and (reason := _unoffered(answer.task, staged)):
            raise Refuted(reason, answer.task)

    def _asked(self, client: Client, event: Event, task: Task) -> asyncio.Task[_Answer]:
        known = self._answers.get(event.id)
        if known is None or (known.done() and (known.cancelled() or known.exception() is not None)):
            known = asyncio.create_task(_ask(client, task))
            self._answers[event.id] = known
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return known


async def _ask(client: Client, task: Task) -> _Answer:
    answer = await _compare(client, task)
    if not answer.reason or answer.task is None:
        return (
            answer  # a task that nobody knows does not become known: a thousand of them must hold nobody up
        )
    await asyncio.sleep(AGAIN_AFTER_S)
    return await _compare(client, task)


async def _compare(client: Client, task: Task) -> _Answer:
    told = await client.fetch(task.id)
    if told is None:
        return _Answer("the upstream knows no such task", None)
    if told.status == task.status or (task.status != Status.MODAL and not _is_behind(told, task)):
        return _Answer("", with_buttons(told, client.dialect))
    return _Answer(f"the callback says {task.status}, the upstream {told.status}", told)


def _is_behind(told: Task, claimed: Task) -> bool:
    """Whether the upstream's task has yet to come to where the callback says it is; another end is no such place."""
    if told.is_finished:
        return claimed.is_finished
    return advance(position_of(told), position_of(claimed)) is not None


def _unoffered(task: Task, staged: Sequence[Staged]) -> str:
    """Why a press cannot be meant: a button that the upstream's task does not have."""
    offered = {button.custom_id for button in task.buttons}
    for one in staged:
        request = decode_request(one.request)
        if isinstance(request, Action) and request.task_id == task.id and request.custom_id not in offered:
            return f"the upstream's task has no button {request.custom_id}"
    return ""
