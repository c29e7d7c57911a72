"""The process that tries rules somebody has just written: `python -m dispatcher.trying.tryout`.

Jinja evaluates constants when it parses a template, and only killing the process can stop that, or a loop. So rules are tried
in a process with little memory and time, and without secrets. Requests and answers go through standard input and output, each
as MessagePack after its length:

    TrialRequest →  ← RulesLoaded, or UnusableRules
    RecordedEvents →  ← Prediction
"""

from __future__ import annotations

import signal
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import BinaryIO, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.confined.process_limits import limit
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.errors import RuleError
from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from dispatcher.rules.compile import CompiledRule, RuleContext
from dispatcher.rules.mistakes import WrongRules
from dispatcher.rules.sources import Source, find_in
from dispatcher.trying.report import Report, Suggested
from dispatcher.trying.whatif import WhatIf
from midjourney.dialects import Dialect
from midjourney.links import Near
from storage.reading.facts import Requested
from storage.records import Approval, ClaimedDelivery

MEMORY_BYTES = 512 * 1024 * 1024
"""In addition to what the interpreter uses once all modules are loaded."""

WITHIN_S = 20
"""Seconds of processor time; the parent waits as long by the clock."""

OUT_OF_MEMORY = 3
"""The code with which the process ends then."""

MOST_SHOWN = 100
MOST_ERRORS = 20
LENGTH_BYTES = 8

T = TypeVar("T")


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rules as TOML source, and for each upstream by name what a prediction depends on."""

    rules: str
    dialects: Mapping[str, Dialect]
    prices: Mapping[str, Mapping[str, float]]
    budget: Budget
    budgets: Sequence[PeriodBudget] = ()
    zone: str = "UTC"
    near: Mapping[str, Near] = {}
    zones: Mapping[str, str] = {}


class RulesLoaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The rules are valid, and use these signals. `facts` are those of all events that a trial must see."""

    signals: list[str]
    facts: list[str] = []


class UnusableRules(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The rules have a mistake."""

    error: str


class RecordedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded events with these signals, oldest first, and what others requested and decided. `is_cut`: there were more events. What
    is due by `until_ms` is done."""

    events: list[ClaimedDelivery]
    is_cut: bool = False
    requested: list[Requested] = []
    decided: list[Approval] = []
    since_ms: int = 0
    until_ms: int = 0


class Prediction(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What rules would have done: by rule the number of submissions, their price, and how many the budget would have refused;
    the first of the submissions; the most frequent errors; the warnings about the rules; how many would have been held for an approval; and what is not known."""

    events: int
    by_rule: dict[str, tuple[int, float, int]]
    suggested: list[Suggested]
    errors: dict[str, int]
    is_cut: bool
    warnings: list[str] = []
    held: int = 0
    unknown: list[str] = []


def framed(message: msgspec.Struct) -> bytes:
    """Encode a message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


def _read(incoming: BinaryIO, kind: type[T]) -> T:
    length = int.from_bytes(incoming.read(LENGTH_BYTES))
    return msgspec.msgpack.decode(incoming.read(length), type=kind)


def answer(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Read rules, report their signals, and try them on recorded events."""
    request = _read(incoming, TrialRequest)
    try:
        rules = _rules(request)
    except RuleError as error:
        outgoing.write(framed(UnusableRules(error=str(error))))
        return
    handles = {
        name: UpstreamHandle(
            name=name,
            dialect=dialect,
            near=request.near.get(name, Near()),
            zone=request.zones.get(name, "UTC"),
        )
        for name, dialect in request.dialects.items()
    }
    plan = Budgets(request.budgets, ZoneInfo(request.zone), request.prices) if request.budgets else None
    what_if = WhatIf(rules, handles, request.prices, request.budget, plan)
    outgoing.write(framed(RulesLoaded(signals=what_if.signals, facts=what_if.facts)))
    outgoing.flush()
    told = _read(incoming, RecordedEvents)
    report = what_if.run(
        told.events, told.requested, told.decided, since_ms=told.since_ms, until_ms=told.until_ms
    )
    prediction = _prediction(report, is_cut=told.is_cut)
    warnings = [str(warning) for rule in rules for warning in rule.warnings]
    outgoing.write(framed(msgspec.structs.replace(prediction, warnings=warnings)))


def _rules(request: TrialRequest) -> list[CompiledRule]:
    try:
        tables: dict[str, object] = tomllib.loads(request.rules.removeprefix("\ufeff"))
        if not tables.get("rules"):
            raise RuleError("the text contains no rules: write [[rules]] above each rule")
        context = RuleContext(directory=None, upstreams=list(request.dialects))
        rules, mistakes = find_in([Source(file="here", text=request.rules, tables=tables, context=context)])
        if mistakes:
            raise WrongRules(mistakes)
        return rules
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"this is not valid TOML: {error}") from error
    except RecursionError as error:
        raise RuleError("the text is nested too deeply") from error


def _prediction(report: Report, *, is_cut: bool) -> Prediction:
    allowed = [made for made in report.suggested if made.is_made]
    count, wanted = Counter(made.rule for made in allowed), Counter(made.rule for made in report.suggested)
    refused = Counter(made.rule for made in report.suggested if made.fate == "refused")
    cost = {name: sum(made.price for made in allowed if made.rule == name) for name in count}
    return Prediction(
        events=report.events,
        by_rule={name: (count[name], cost.get(name, 0.0), refused[name]) for name in wanted},
        suggested=report.suggested[:MOST_SHOWN],
        errors=dict(report.errors.most_common(MOST_ERRORS)),
        is_cut=is_cut,
        held=sum(made.fate == "held" for made in report.suggested),
        unknown=report.notes,
    )


def main() -> int:
    """Answer the parent process. Returns `OUT_OF_MEMORY` if the memory was not enough."""
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Ctrl+C is meant for the server, but reaches this process too
    limit(MEMORY_BYTES, processor_s=WITHIN_S)
    try:
        answer(sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
