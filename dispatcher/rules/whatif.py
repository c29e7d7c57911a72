"""Tries rules on recorded events: what they would have submitted. Nothing is sent or stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.context import context_of
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.receivers import name_of, options_of
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.policy.costs import Prices
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.receiver import Function, receivers_of
from midjourney.image_data import Image, image_of_bytes
from midjourney.links import Near
from midjourney.prices import price_of
from storage.records import ChainUse, ClaimedDelivery, Staged

_DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f00010101001bb6ee56"
    "0000000049454e44ae426082"
)


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
    """What the rules would have done. `errors` counts, by message, the events for which a rule failed."""

    events: int = 0
    suggested: list[Suggested] = []
    repeats: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)


class WhatIf:
    """Runs rules on recorded events, one after the other."""

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
            for signal, function in receivers_of(msgspec.structs.replace(rule, effects={})):
                self._listening.setdefault(signal, []).append((name_of(function), function))
        self._handles = handles
        self._prices = prices
        self._budget = budget
        self._keys: set[str] = set()
        self._made: Counter[tuple[str, str]] = Counter()
        self._fired: Counter[tuple[str, str]] = Counter()

    @property
    def signals(self) -> list[str]:
        """The signals that the rules use."""
        return sorted(self._listening)

    def run(self, recorded: Iterable[ClaimedDelivery]) -> Report:
        """Run the rules on each event."""
        for claimed in recorded:
            if claimed.event.upstream not in self._handles:
                continue
            self.report.events += 1
            for name, function in self._listening.get(str(claimed.event.signal), ()):
                self._run_rule(name, function, claimed)
        return self.report

    def _run_rule(self, name: str, function: Function, claimed: ClaimedDelivery) -> None:
        delivery = msgspec.structs.replace(claimed.delivery, receiver=name)
        context = context_of(
            msgspec.structs.replace(claimed, delivery=delivery), self._handles, chain_type=DryChain
        )
        limit = options_of(function).limit
        scope = context.chain.id if limit is None or limit.per == "chain" else context.task.id
        if limit is not None and self._fired[name, scope] >= limit.most:
            return
        try:
            _finish(function(context.action, **context.arguments()))
        except GiveUp as error:
            self.report.errors[str(error)] += 1
            return
        self._fired[name, scope] += context.chain.fired
        for staged in context.chain.staged:
            is_held = options_of(function).terms is not None
            self._record(name, context.chain, claimed, staged, is_held=is_held)

    def _record(
        self, name: str, chain: Chain, claimed: ClaimedDelivery, staged: Staged, *, is_held: bool
    ) -> None:
        if staged.idempotency_key in self._keys:
            self.report.repeats += 1
            return
        use = ChainUse(submissions=self._made[chain.id, ""], by_same_receiver=self._made[chain.id, name])
        refused = refusal(use, staged, self._budget)
        if not refused:
            self._keys.add(staged.idempotency_key)
            self._made.update([(chain.id, ""), (chain.id, name)])
        self.report.suggested.append(
            Suggested(
                rule=name,
                chain_id=chain.id,
                upstream=staged.upstream,
                task_id=claimed.event.task_id,
                kind=staged.kind,
                label=staged.label,
                price=price_of(staged.kind, staged.request, self._prices.get(staged.upstream, {})),
                refused=refused,
                held=is_held and not refused,
            )
        )


class DryChain(Chain):
    """A chain that loads no images: each is a single pixel."""

    async def _loaded(self, source: str | Path, near: Near) -> Image:
        return image_of_bytes(_DOT)

    async def picture_size(self, address: str) -> tuple[int, int]:
        """The size of a single pixel."""
        return (1, 1)


def _finish(running: object) -> None:
    """Run a rule's coroutine to its end: with a `DryChain` it never waits."""
    try:
        running.send(None)  # type: ignore[attr-defined]  # a coroutine
    except StopIteration:
        return
    raise AssertionError("a rule waited for something while it was tried")
