"""Loop: scheduled submissions that are due → whoever scheduled them is asked → they may be sent, or are dropped with the reason.

This sends nothing: it only lets the submitter claim them. So the worst that a crash between any two steps can do is that somebody is
asked twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Mapping
from functools import partial

import structlog
from msgspec.structs import replace

from dispatcher.loops.loop import Loop
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.context import Context, context_of
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.scheduled import StillWanted, Terms, terms_of
from dispatcher.policy import run_endings
from dispatcher.policy.intent import generation_of
from midjourney.errors import ProtocolError
from storage.clock import uptime_s
from storage.engine import Connection, Transactions
from storage.reading import recorded
from storage.records import BY_HAND, ClaimedDelivery, Event
from storage.submissions import scheduled
from storage.submissions.scheduled import Press, Scheduled
from storage.tasks.believe import believe
from storage.tickets import withdrawing

log = structlog.get_logger("hookchain")

AT_ONCE = 100
"""Submissions that one turn asks about."""

PASSED_OVER_S = 10.0
"""How long one is passed over that this process cannot decide about."""

_PRESSED = ("action", "change", "simple_change")
_UNSENT = ("refused", "rejected", "dead")


class Asker:
    """Asks again about what is due. `by_plugin` asks about what plugins scheduled; rules answer for themselves. `is_alone` returns True
    if no other process works on this database. `trusted` are upstreams whose tasks are not read back.
    `wants` returns whether a client, by its name, wants a receiver to act on its tasks."""

    def __init__(
        self,
        database: Transactions,
        registry: Registry,
        handles: Mapping[str, UpstreamHandle],
        by_plugin: StillWanted,
        clock: Callable[[], int],
        is_alone: Callable[[], bool],
        trusted: Container[str] = (),
        wants: Callable[[str, str], bool] = lambda _client, _receiver: True,
    ) -> None:
        self._wants = wants
        self._trusted = trusted
        self._database = database
        self._registry = registry
        self._handles = handles
        self._by_plugin = by_plugin
        self._clock = clock
        self._is_alone = is_alone
        self._passed_over: dict[str, float] = {}
        self.loop = Loop("ask again", self.turn)

    async def turn(self) -> None:
        """Ask about what is due now."""
        now_s = uptime_s()
        self._passed_over = {id_: until_s for id_, until_s in self._passed_over.items() if until_s > now_s}
        found = await self._database.read(
            partial(scheduled.due, now_ms=self._clock(), most=AT_ONCE, but=self._passed_over)
        )
        for one in found:
            if self.loop.is_stopping:
                return
            if not await self._ask(one):
                self._passed_over[one.submission.id] = now_s + PASSED_OVER_S + random.random()
        if found:
            self._database.wakeups.wake("submissions")
        if len(found) == AT_ONCE:
            self.loop.wake()

    async def _ask(self, one: Scheduled) -> bool:
        """Ask about one submission, and write the answer. False if this process cannot tell now."""
        try:
            why = await self.why_not(one)
        except ProtocolError as error:
            log.info(
                "a scheduled submission waits until its task can be read",
                submission=one.submission.id,
                why=str(error),
            )
            return False
        except Exception:  # of one submission: the others are asked about all the same, and this one later
            log.exception("cannot tell whether a submission is still wanted", submission=one.submission.id)
            return False
        if why is None:
            return False
        if await self.write(one, why) and why:
            log.info("not sent", submission=one.submission.id, label=one.submission.label, why=why)
        return True

    async def write(self, one: Scheduled, why: str) -> bool:
        """Let a submission be sent, or drop it if there is a reason. False if the answer is out of date."""
        if why:
            return await self._database.write("drop_scheduled", partial(_drop, one, why, self._clock()))
        return await self._database.write("clear_scheduled", partial(_clear, one, self._clock()))

    async def why_not(self, one: Scheduled) -> str | None:
        """Why a submission is not sent; "" if it is; None if another process may know. Raises `ProtocolError` if the upstream does not
        tell the task."""
        terms = replace(terms_of(one.terms), approved_ms=one.approved_at_ms or 0)
        claimed, presses = await self._database.read(partial(_read, one, terms))
        if claimed is None:
            return "the event for which it was scheduled is no longer kept"
        receiver = self._registry.get(terms.receiver)
        if receiver is None:
            return self._missing(one, _gone(terms.receiver, self._registry.names()))
        if claimed.event.upstream not in self._handles:
            return self._missing(one, f"the upstream {claimed.event.upstream!r} is no longer configured")
        client = claimed.chain.client if claimed.chain is not None else ""
        if client and not self._wants(client, terms.receiver):
            return f"the client {client} no longer wants {terms.receiver}"
        if await self._read_back(claimed.event):
            claimed, presses = await self._database.read(partial(_read, one, terms))
            if claimed is None:
                return None
        context = _with_presses(context_of(claimed, self._handles), presses)
        if _is_pressed_elsewhere(one, context, presses):
            return f"{one.submission.label} was pressed by another program in the meantime"
        return await (receiver.options.still_wanted or self._by_plugin)(terms, context, self._clock())

    async def _read_back(self, event: Event) -> bool:
        """Read the event's task from its upstream, because nobody reports which buttons other programs press. False if that is not
        possible here. Raises `ProtocolError`."""
        handle = self._handles.get(event.upstream)
        if not event.task_id or handle is None or handle.read_back is None or event.upstream in self._trusted:
            return False
        told = await handle.read_back(event.task_id)
        if told.task is None:
            return False
        work = partial(
            believe, report=told, wanted_signals=self._registry.connected_signals(), now_ms=self._clock()
        )
        await self._database.write("believe", work)
        self._database.wakeups.wake("events")
        return True

    def _missing(self, one: Scheduled, why: str) -> str | None:
        """During a deployment, another process may have what is missing here."""
        late_ms = self._clock() - one.submission.run_at_ms
        return why if self._is_alone() or late_ms > run_endings.DEPLOYED_WITHIN_MS else None


def _gone(receiver: str, names: list[str]) -> str:
    kind, _, name = receiver.partition(":")
    name, is_answer, _ = name.partition("/")
    if kind != "rule":
        return f"the receiver {receiver} is not loaded any more"
    if is_answer or any(other.partition("/")[0] == f"rule:{name}" for other in names):
        return f'the rule "{name}" was changed after it was scheduled'
    return f'the rule "{name}" no longer exists, or is switched off'


def _read(one: Scheduled, terms: Terms, connection: Connection) -> tuple[ClaimedDelivery | None, list[Press]]:
    claimed = recorded.again(connection, terms.event, terms.receiver)
    if claimed is None or not claimed.event.task_id:
        return claimed, []
    upstream, task_id = claimed.event.upstream, claimed.event.task_id
    return claimed, scheduled.presses_on(connection, upstream, task_id, but=one.submission.id)


def _with_presses(context: Context, presses: list[Press]) -> Context:
    """The context with what was pressed on its task. A button that the task shows as pressed, and that nobody asked for here, was
    pressed by a person elsewhere."""
    known = {press.label for press in presses}
    shown = [button.name for button in context.task.buttons if button.pressed and button.name not in known]
    sent = [press for press in presses if press.state not in _UNSENT]
    context.chain.pressed = tuple(dict.fromkeys([*(press.label for press in sent), *shown]))
    context.chain.pressed_by_person = bool(shown) or any(press.asked_by.startswith(BY_HAND) for press in sent)
    return context


def _is_pressed_elsewhere(one: Scheduled, context: Context, presses: list[Press]) -> bool:
    """True if the task shows a button as pressed that this submission would press for the first time, and nobody asked for here."""
    if one.submission.kind not in _PRESSED or generation_of(one.submission.idempotency_key):
        return False
    label = one.submission.label
    shown = any(button.pressed for button in context.task.buttons if button.name == label)
    return shown and all(press.label != label for press in presses)


def _clear(one: Scheduled, now_ms: int, connection: Connection) -> bool:
    return scheduled.clear(connection, one, now_ms)


def _drop(one: Scheduled, why: str, now_ms: int, connection: Connection) -> bool:
    return withdrawing.drop(connection, one.submission.id, f"not sent: {why}", now_ms, terms=one.terms)
