"""Tries rules on the recorded past: what they would have submitted. Nothing is sent or stored.

There is no second dispatcher here: the events happen again in a database in memory (storage/scratch.py), and the server's own functions
fan them out, run the rules, count limits, stage within the budgets, hold for approvals, ask again what is due, and give joins. Only the
upstream is missing: its answers are those that are recorded, and what nobody has ever asked it is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.plugin_signal import PluginSignal
from dispatcher.plugins.receivers import Options, Receiver, Registry
from dispatcher.plugins.signals import ARGUMENTS
from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.costs import Prices
from dispatcher.rules.approval import SUFFIX
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.receiver import PREFIX, receivers_of, sender_of
from dispatcher.rules.roots import uses_root
from dispatcher.trying.dry import without_effects
from dispatcher.trying.facts import merged
from dispatcher.trying.report import Report
from dispatcher.trying.run import Time, Trial, Tried
from dispatcher.trying.times import MOST, occurrences_of
from storage import clock
from storage.budgets.billing import Plan
from storage.reading.facts import Requested
from storage.records import STRUCK, Approval, ClaimedDelivery
from storage.scratch import Scratch

STATE_SIGNALS = frozenset(
    {
        "task.succeeded",
        "task.failed",
        "task.cancelled",
        "task.lost",
        "submission.accepted",
        "submission.queued",
        "submission.needs_modal",
        "submission.existed",
        "submission.rejected",
        "submission.uncertain",
        "submission.dead",
        "chain.rested",
        "children.done",
    }
)
"""What a trial must hear of, whatever its rules listen to: chains, budgets and joins depend on it."""


class WhatIf:
    """Runs rules over the past, as if only they, people, clients and plugins had submitted anything since it begins.

    The time is that of each event, for all of this process. `plan` are the `[[budgets]]`. A rule that runs by the clock is tried on its first `most_times`. `tests/dispatcher/test_whatif.py` compares a
    trial with the server.
    """

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        handles: Mapping[str, UpstreamHandle],
        prices: Prices,
        budget: Budget,
        plan: Plan | None = None,
        *,
        most_times: int = MOST,
    ) -> None:
        self.report = Report()
        self._rules = rules
        self._most_times = most_times
        self.uses_root = any(uses_root(rule.rule) for rule in rules)
        self._plan = plan
        self._signals = _signals_of(rules)
        self._registry = Registry(self._signals)
        self._registry.add_family(PREFIX, self._asker_of)
        self._tried = Tried(
            registry=self._registry, signals=self._signals, handles=handles, prices=prices, budget=budget
        )

    @property
    def signals(self) -> list[str]:
        """The signals that the rules use, and that are recorded: the times of rules that run by the clock are worked out."""
        return sorted(self._signals.keys() - {STRUCK})

    @property
    def facts(self) -> list[str]:
        """The signals of all events that a trial must see."""
        return sorted({*self.signals, *STATE_SIGNALS})

    def _asker_of(self, name: str) -> Receiver | None:
        """The receiver that would ask people for an approval: it asks nobody."""
        rule, slash, _ = name.partition(SUFFIX)
        asker = self._registry.get(rule) if slash else None
        if asker is None or name.removeprefix(rule) not in asker.options.asks:
            return None
        return Receiver(name=name, function=_ask_nobody, options=Options(harmless=True))

    def run(
        self,
        recorded: Iterable[ClaimedDelivery],
        requested: Iterable[Requested] = (),
        decided: Iterable[Approval] = (),
        *,
        since_ms: int = 0,
        until_ms: int = 0,
    ) -> Report:
        """Let the past happen with these rules. What is due by `until_ms`, after the last event, is done too; what others requested
        before `since_ms` counts, and is not tried."""
        scratch, now = Scratch(self._tried.handles, self._plan), Time()
        try:
            with clock.stopped(now):
                trial = Trial(self._tried, scratch, self.report, now, since_ms)
                times = occurrences_of(
                    self._rules,
                    self._tried.handles,
                    since_ms,
                    until_ms,
                    most=self._most_times,
                    tell=self.report.notes.append,
                )
                for at_ms, fact in merged(recorded, requested, decided, times):
                    trial.until(at_ms)
                    trial.take(fact)
                trial.until(until_ms)
                trial.finish()
        finally:
            scratch.close()
        return self.report


def _signals_of(rules: Sequence[CompiledRule]) -> dict[str, PluginSignal]:
    """The receivers of these rules alone, on signals of their own."""
    signals: dict[str, PluginSignal] = {}
    for rule in rules:
        for signal, function in receivers_of(without_effects(rule)):
            signals.setdefault(signal, PluginSignal(signal, "", ARGUMENTS)).connect(
                function, sender_of(rule.rule)
            )
    return signals


async def _ask_nobody(_action: str, *, chain: Chain, **_: object) -> None:
    chain.note("not performed")
    chain.fired = True
