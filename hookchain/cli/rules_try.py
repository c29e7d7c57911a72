"""`hookchain rules try`: run rules over recorded events and report what they would have submitted. Sends nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dispatcher.policy.costs import PAID, Prices
from dispatcher.rules.clock_trial import with_times
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.model import EFFECTS
from dispatcher.rules.whatif import Report, WhatIf
from hookchain.cli.output import json_text
from hookchain.cli.rules_counts import never_fired_in
from hookchain.cli.table import cells, padded
from hookchain.printable import printable
from hookchain.rules import read_rules
from hookchain.settings.load import SANDBOX, Settings
from hookchain.upstreams import places_of
from midjourney.dialects import Upstream
from midjourney.prices import price_of
from storage import clock
from storage.engine import Connection, Database
from storage.reading import ledger
from storage.reading.ledger import Entry
from storage.reading.recorded import recorded

MOST_CHAINS = 20
"""Chains that are printed; --json lists them all."""


def what_if(file: Path, settings: Settings, since_ms: int, *, as_json: bool) -> str:
    """What these rules would have submitted since this time, beside what was submitted, as text or JSON."""
    settings = _with_upstream(settings)
    rules = read_rules(file, settings.upstreams, settings.image_folders)
    report, actual = asyncio.run(_reports(settings, rules, since_ms))
    never = never_fired_in((rule.rule.name for rule in rules), report.fired)
    if as_json:
        return json_text(_json(report, actual) | {"never_fired": never})
    lines = _lines(report, actual) + _effect_lines(report)
    lines += [f"would never have fired: {', '.join(never)}"] if never else []
    return "\n".join(map(printable, lines))


def _with_upstream(settings: Settings) -> Settings:
    """The settings, with the built-in sandbox if no upstream is configured: recorded events then came from it."""
    if settings.upstreams:
        return settings
    return msgspec.structs.replace(
        settings, upstreams={SANDBOX: Upstream(name=SANDBOX, url="http://127.0.0.1")}
    )


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """What rules have submitted: the number by rule and by chain, and the cost by rule."""

    by_rule: Counter[str]
    cost_by_rule: Counter[str]
    by_chain: Counter[str]


async def _reports(settings: Settings, rules: list[CompiledRule], since_ms: int) -> tuple[Report, Actual]:
    prices = {name: upstream.prices for name, upstream in settings.upstreams.items()}
    places, now_ms = places_of(settings), clock.now_ms()
    runner = WhatIf(rules, places, prices, settings.budget)

    def read(connection: Connection) -> tuple[Report, Actual]:
        actual = _actual(ledger.entries(connection, since_ms), prices)
        events = recorded(connection, runner.signals, since_ms, with_root=runner.uses_root)
        return runner.run(with_times(events, rules, places, since_ms, now_ms)), actual

    database = Database(settings.database_url)
    try:
        return await database.read(read)
    finally:
        await database.close()


def _actual(entries: Iterable[Entry], prices: Prices) -> Actual:
    actual = Actual(by_rule=Counter(), cost_by_rule=Counter(), by_chain=Counter())
    for entry in entries:
        if not entry.asked_by.startswith("rule:") or entry.state == "refused":
            continue
        actual.by_rule[entry.asked_by] += 1
        actual.by_chain[entry.chain_id] += 1
        if entry.state not in PAID:
            continue
        price = price_of(entry.kind, entry.request, prices.get(entry.upstream, {}))
        actual.cost_by_rule[entry.asked_by] += price  # type: ignore[assignment]  # a counter of amounts
    return actual


def _json(report: Report, actual: Actual) -> dict[str, object]:
    return {
        "events": report.events,
        "suggested": [msgspec.structs.asdict(suggestion) for suggestion in report.suggested],
        "repeats": report.repeats,
        "fired": dict(report.fired),
        "limited": report.limited,
        "errors": dict(report.errors),
        "really": {"by_rule": dict(actual.by_rule), "by_chain": dict(actual.by_chain)},
    }


def _lines(report: Report, actual: Actual) -> list[str]:
    allowed = [suggestion for suggestion in report.suggested if not suggestion.refused]
    refused = Counter(suggestion.rule for suggestion in report.suggested if suggestion.refused)
    count = Counter(suggestion.rule for suggestion in allowed)
    lines = [f"{report.events} events were tried; nothing was sent", ""]
    rules = sorted({*count, *refused, *actual.by_rule})
    width = max(30, *map(cells, rules)) if rules else 30
    lines.append(
        f"{padded('rule', width)}  {'would submit':>12}  {'cost':>9}  {'refused':>8}  {'actual':>7}  {'cost':>9}"
    )
    for rule in rules:
        cost = sum(suggestion.price for suggestion in allowed if suggestion.rule == rule)
        lines.append(
            f"{padded(rule, width)}  {count[rule]:12}  {cost:9.4g}  {refused[rule]:8}  {actual.by_rule[rule]:7}  "
            f"{actual.cost_by_rule[rule]:9.4g}"
        )
    total_cost = sum(suggestion.price for suggestion in allowed)
    lines.append(
        f"{padded('total', width)}  {len(allowed):12}  {total_cost:9.4g}  {refused.total():8}  "
        f"{actual.by_rule.total():7}  {sum(actual.cost_by_rule.values()):9.4g}"
    )
    if held := sum(suggestion.held for suggestion in report.suggested):
        lines.append(f"held until somebody approves: {held} of {len(allowed)}")
    lines += _chain_lines(report, actual)
    lines += [f"failed {times} times: {message}" for message, times in report.errors.most_common(10)]
    return lines


def _effect_lines(report: Report) -> list[str]:
    """How often each effect would have been performed."""
    effects = {
        name: times for name, times in sorted(report.fired.items()) if name.partition("/")[2] in EFFECTS
    }
    if not effects:
        return []
    width = max(30, *map(cells, effects))
    return [
        "",
        f"{padded('effect', width)}  {'would run':>12}",
        *(f"{padded(name, width)}  {times:12}" for name, times in effects.items()),
    ]


def _chain_lines(report: Report, actual: Actual) -> list[str]:
    by_chain: dict[str, Counter[str]] = {}
    for suggestion in report.suggested:
        by_chain.setdefault(suggestion.chain_id, Counter())[suggestion.label] += 1
    if not by_chain:
        return []
    lines = ["", f"{'chain':18}  {'actual':>6}  would submit"]
    for chain_id, labels in list(by_chain.items())[-MOST_CHAINS:]:
        shown = ", ".join(f"{label} x{times}" if times > 1 else label for label, times in labels.items())
        lines.append(f"{chain_id or 'new':18}  {actual.by_chain[chain_id]:6}  {shown}")
    if len(by_chain) > MOST_CHAINS:
        lines.append(f"… and {len(by_chain) - MOST_CHAINS} more chains; --json lists them all")
    return lines
