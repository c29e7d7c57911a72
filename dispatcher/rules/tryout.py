"""The process in which rules are tried that somebody has only just written: `python -m dispatcher.rules.tryout`.

Jinja works out constants when a template is read, and nothing can end that, or a loop, but the end of its process. So it
has one of its own, with little memory and time, and nothing in it that is secret. What it is asked and what it answers
goes through standard input and output, each as MessagePack after its length:

    Asked →  ← Heard, or Mistake
    Happened →  ← Outcome
"""

from __future__ import annotations

import signal
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from dispatcher.budget import Budget
from dispatcher.chain import Place
from dispatcher.errors import RuleError
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from dispatcher.rules.whatif import Report, Suggested, WhatIf
from midjourney.dialects import Dialect
from storage.records import ClaimedDelivery

try:
    import resource
except ImportError:  # on Windows: whoever started this ends it after WITHIN_S, and nothing limits its memory
    _CAN_LIMIT = False
else:
    _CAN_LIMIT = True

MEMORY_BYTES = 512 * 1024 * 1024
"""Beyond what the interpreter has when it has loaded all of this."""

WITHIN_S = 20
"""Seconds of the processor; whoever started it waits as long, by the clock."""

MOST_SHOWN = 100
MOST_ERRORS = 20
LENGTH_BYTES = 8

T = TypeVar("T")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Rules as a file has them, and what they are measured by, for each upstream by its name."""

    rules: str
    dialects: Mapping[str, Dialect]
    prices: Mapping[str, Mapping[str, float]]
    budget: Budget


class Heard(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The rules are right, and listen to these signals."""

    signals: list[str]


class Mistake(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The rules cannot be used."""

    told: str


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """Events that gave these signals, oldest first. `is_cut`: there were more."""

    events: list[ClaimedDelivery]
    is_cut: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What rules would have done: by rule how many submissions, their price, and how many the budget would have refused;
    the first of all that they would have asked for; and the most frequent of their errors."""

    events: int
    by_rule: dict[str, tuple[int, float, int]]
    suggested: list[Suggested]
    errors: dict[str, int]
    is_cut: bool


def framed(message: msgspec.Struct) -> bytes:
    """A message after its length."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


def _next(incoming: BinaryIO, kind: type[T]) -> T:
    length = int.from_bytes(incoming.read(LENGTH_BYTES))
    return msgspec.msgpack.decode(incoming.read(length), type=kind)


def answer(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Read the rules, say what they listen to, and try them on what happened."""
    asked = _next(incoming, Asked)
    try:
        rules = _rules(asked)
    except RuleError as error:
        outgoing.write(framed(Mistake(told=str(error))))
        return
    places = {name: Place(name=name, dialect=dialect) for name, dialect in asked.dialects.items()}
    what_if = WhatIf(rules, places, asked.prices, asked.budget)
    outgoing.write(framed(Heard(signals=what_if.signals)))
    outgoing.flush()
    happened = _next(incoming, Happened)
    report = what_if.run(happened.events)
    outgoing.write(framed(_outcome(report, is_cut=happened.is_cut)))


def _rules(asked: Asked) -> list[CompiledRule]:
    try:
        tables: dict[str, Any] = tomllib.loads(asked.rules)
        if not tables.get("rules"):
            raise RuleError("there is no rule in it: write [[rules]] above each")
        return load_rules(tables["rules"], file="here", text=asked.rules, upstreams=list(asked.dialects))
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"this is not TOML: {error}") from error
    except RecursionError as error:
        raise RuleError("something in it is nested too deeply") from error


def _outcome(report: Report, *, is_cut: bool) -> Outcome:
    allowed = [one for one in report.suggested if not one.refused]
    count, refused = Counter(one.rule for one in allowed), Counter(one.rule for one in report.suggested)
    cost = {name: sum(one.price for one in allowed if one.rule == name) for name in count}
    return Outcome(
        events=report.events,
        by_rule={name: (count[name], cost.get(name, 0.0), refused[name] - count[name]) for name in refused},
        suggested=report.suggested[:MOST_SHOWN],
        errors=dict(report.errors.most_common(MOST_ERRORS)),
        is_cut=is_cut,
    )


def _limit() -> None:
    """From now on: so much memory and time, no files written, and no core left behind."""
    pages = Path("/proc/self/statm")
    if pages.exists():  # Linux; elsewhere nobody holds a process to this limit, and its time remains
        taken = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _at_most(resource.RLIMIT_AS, taken + MEMORY_BYTES)
    _at_most(resource.RLIMIT_CPU, WITHIN_S)
    _at_most(resource.RLIMIT_FSIZE, 0)
    _at_most(resource.RLIMIT_CORE, 0)


def _at_most(kind: int, amount: int) -> None:
    _, hard = resource.getrlimit(kind)
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (amount, amount))


def main() -> int:
    """Answer whoever started this. 1 when there was not enough memory."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C is for the server, and comes here too
    if _CAN_LIMIT:
        _limit()
    try:
        answer(sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
