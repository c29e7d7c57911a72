"""Tries rules on recorded events: what they would have submitted. Nothing is sent or stored."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.context import context_of
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.receivers import name_of, options_of
from dispatcher.plugins.signals import SIGNALS
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.policy.costs import Prices
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.expressions import Names
from dispatcher.rules.receiver import Function, receivers_of
from dispatcher.rules.roots import uses_root
from midjourney.image_data import Image, image_of_bytes
from midjourney.links import Near
from midjourney.prices import price_of
from storage import clock
from storage.deliveries.endings import subject_of
from storage.deliveries.firings import scope_of
from storage.records import STRUCK, ChainUse, ClaimedDelivery, Staged
from storage.submissions.hourly import HOUR_MS
from storage.submissions.intents import identities

DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f00010101001bb6ee56"
    "0000000049454e44ae426082"
)
"""A picture of a single pixel."""


class Suggested(msgspec.Struct, frozen=True, kw_only=True):
    """One submission that a rule would have made. `refused` names the limit that would have prevented it, or is "". `held`: it would have
    waited for an approval."""

    rule: str
    chain_id: str
    upstream: str
    task_id: str
    kind: str
    label: str
    price: float
    refused: str = ""
    held: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What the rules would have done. `limited` counts the runs that their own limit prevents; `errors` counts, by message, the events
    for which a rule failed. `fired` counts the events for which a receiver fired: "rule:NAME", or "rule:NAME/archive" for an effect,
    which is not performed."""

    events: int = 0
    fired: Counter[str] = msgspec.field(default_factory=Counter)
    suggested: list[Suggested] = []
    repeats: int = 0
    limited: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)


class WhatIf:
    """Runs rules on recorded events, one after the other, as if only they and people had submitted anything.

    It decides as the server does, by the same functions: limits by `storage.deliveries.firings.scope_of`, intents by their keys, budgets by
    `refusal`. The time is that of each event, for all of this process. `tests/dispatcher/test_whatif.py` compares the two.
    """

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        handles: Mapping[str, UpstreamHandle],
        prices: Prices,
        budget: Budget,
    ) -> None:
        self.report = Report()
        self._listening: dict[str, list[tuple[str, Function]]] = {}
        for rule in rules:
            for signal, function in receivers_of(_without_effects(rule)):
                heard = (
                    f"{signal} {rule.rule.name}" if rule.rule.every else signal
                )  # an occurrence is for one rule
                self._listening.setdefault(heard, []).append((name_of(function), function))
        self.uses_root = any(uses_root(rule.rule) for rule in rules)
        for listening in self._listening.values():
            listening.sort(key=lambda one: one[0])  # the server's order
        self._handles = handles
        self._prices = prices
        self._fired: Counter[tuple[str, str]] = Counter()
        self._acted: set[tuple[str, str, str, str]] = set()
        self._staged = StagedBefore(budget)

    @property
    def signals(self) -> list[str]:
        """The signals that the rules use, and that are recorded: the times of those with `every` are worked out (`with_times`)."""
        return sorted(signal for signal in self._listening if signal in SIGNALS)

    def run(self, recorded: Iterable[ClaimedDelivery]) -> Report:
        """Run the rules on each event."""
        for claimed in recorded:
            if claimed.event.upstream not in self._handles:
                continue
            self.report.events += 1
            claimed = self._as_it_would_be(claimed)
            for name, function in self._listening.get(_heard(claimed), ()):
                self._run_rule(name, function, claimed)
        return self.report

    def _as_it_would_be(self, claimed: ClaimedDelivery) -> ClaimedDelivery:
        """A delivery whose chain has the submissions of people and of these rules."""
        chain = claimed.chain
        if chain is None:
            return claimed
        submissions = chain.submissions - chain.automatic + self._staged.in_chain(chain.id)
        return msgspec.structs.replace(claimed, chain=msgspec.structs.replace(chain, submissions=submissions))

    def _run_rule(self, name: str, function: Function, claimed: ClaimedDelivery) -> None:
        if self._has_acted(name, claimed):
            return
        limit, fired = options_of(function).limit, (name, "")
        if limit is not None:
            fired = (name, scope_of(limit.per, subject_of(claimed), lambda: claimed.root_id))
            if self._fired[fired] >= limit.most:
                self.report.limited += 1
                return
        delivery = msgspec.structs.replace(claimed.delivery, receiver=name)
        context = context_of(
            msgspec.structs.replace(claimed, delivery=delivery), self._handles, chain_type=DryChain
        )
        try:
            with clock.stopped(lambda: claimed.event.received_at_ms):
                _finish(function(context.action, **context.arguments()))
        except GiveUp as error:
            self.report.errors[str(error)] += 1
            self._acted.add(_subject(name, claimed))
            return
        if context.chain.fired:
            self._fired[fired] += 1
            self._acted.add(_subject(name, claimed))
        self.report.fired[name] += context.chain.fired
        for staged in context.chain.staged:
            is_held = options_of(function).terms is not None
            self._record(name, claimed, staged, is_held=is_held)

    def _has_acted(self, name: str, claimed: ClaimedDelivery) -> bool:
        """True for a SUCCESS that is reported a second time, of which the rule has made something already."""
        event = claimed.event
        is_again = event.source == "reconcile" and event.signal == "task.succeeded"
        return is_again and _subject(name, claimed) in self._acted

    def _record(self, name: str, claimed: ClaimedDelivery, staged: Staged, *, is_held: bool) -> None:
        refused = self._staged.stage(staged, claimed.event.received_at_ms)
        if refused is None:
            self.report.repeats += 1
            return
        self.report.suggested.append(
            Suggested(
                rule=name,
                chain_id=staged.chain_id,
                upstream=staged.upstream,
                task_id=claimed.event.task_id,
                kind=staged.kind,
                label=staged.label,
                price=price_of(staged.kind, staged.request, self._prices.get(staged.upstream, {})),
                refused=refused,
                held=is_held and not refused,
            )
        )


def _heard(claimed: ClaimedDelivery) -> str:
    event = claimed.event
    return f"{STRUCK} {event.action}" if event.signal == STRUCK else str(event.signal)


class StagedBefore:
    """The submissions of a trial, as `storage.submissions.staging` would have stored them."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._intents: set[object] = set()
        self._made: Counter[str] = Counter()
        self._made_by: Counter[tuple[str, str]] = Counter()
        self._times: dict[str, deque[int]] = {}

    def in_chain(self, chain_id: str) -> int:
        """How many of a chain are not refused."""
        return self._made[chain_id]

    def stage(self, staged: Staged, now_ms: int) -> str | None:
        """Keep a submission. Returns "", or why the budget refuses it; None if it was asked for before."""
        intents = identities(staged)
        if not self._intents.isdisjoint(intents):
            return None
        self._intents |= intents
        hour = self._times.setdefault(staged.upstream, deque())
        while hour and hour[0] <= now_ms - HOUR_MS:
            hour.popleft()
        chain_id, by = staged.chain_id, (staged.chain_id, staged.asked_by)
        use = ChainUse(
            submissions=self._made[chain_id], by_same_receiver=self._made_by[by], last_hour=len(hour)
        )
        refused = refusal(use, staged, self._budget)
        if not refused:
            hour.append(now_ms)
            if chain_id:  # without one, it begins a chain of its own
                self._made[chain_id] += 1
                self._made_by[by] += 1
        return refused


def _subject(name: str, claimed: ClaimedDelivery) -> tuple[str, str, str, str]:
    event = claimed.event
    return name, event.upstream, event.task_id, str(event.signal)


class DryChain(Chain):
    """A chain that loads no images: each is a single pixel."""

    async def _loaded(self, source: str | Path, near: Near) -> Image:
        return image_of_bytes(DOT)

    async def picture_size(self, address: str) -> tuple[int, int]:
        """The size of a single pixel."""
        return (1, 1)


def _without_effects(rule: CompiledRule) -> CompiledRule:
    """The rule, whose effects do nothing."""

    async def nothing(_chain: Chain, _names: Names) -> str:
        return "not performed"

    return msgspec.structs.replace(rule, effects=dict.fromkeys(rule.effects, nothing))


def _finish(running: object) -> None:
    """Run a rule's coroutine to its end: with a `DryChain` it never waits."""
    try:
        running.send(None)  # type: ignore[attr-defined]  # a coroutine
    except StopIteration:
        return
    raise AssertionError("a rule waited for something while it was tried")
