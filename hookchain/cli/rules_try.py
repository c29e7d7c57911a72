"""`hookchain rules try`: run rules over recorded events and report what they would have submitted. Sends nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dispatcher.policy.costs import PAID, Prices
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.model import EFFECTS
from dispatcher.trying.report import Report
from dispatcher.trying.times import MOST_ALONE
from dispatcher.trying.whatif import WhatIf
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
from storage.errors import NotDurable, StorageError, Unkeepable
from storage.reading import facts, ledger
from storage.reading.ledger import Entry
from storage.reading.recorded import recorded

MOST_CHAINS = 20
"""Chains that are printed; --json lists them all."""

MOST_TOLD = 20
"""Submissions that do not simply leave, and are described."""


_WHICH = (
    "Set DATABASE_URL (or database_url) to the database of your server; `hookchain serve` or `hookchain migrate` makes a new one, in "
    "which nothing has happened yet."
)
_DAMAGED = "If it is damaged, use a backup: docs/backup.md."


class NoPast(StorageError):
    """There is nothing to try rules on; the message says why, and what to do."""


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
    """What rules have submitted: the number by rule and by chain, and the cost by rule. `unpriced` have requests that cannot be decoded."""

    by_rule: Counter[str]
    cost_by_rule: Counter[str]
    by_chain: Counter[str]
    unpriced: list[str]


async def _reports(settings: Settings, rules: list[CompiledRule], since_ms: int) -> tuple[Report, Actual]:
    prices = {name: upstream.prices for name, upstream in settings.upstreams.items()}
    runner = WhatIf(rules, places_of(settings), prices, settings.budget, settings.plan, most_times=MOST_ALONE)
    now_ms = clock.now_ms()

    def read(connection: Connection) -> tuple[Report, Actual]:
        actual = _actual(ledger.entries(connection, since_ms), prices)
        if actual.unpriced:
            runner.report.notes.append(
                f"what submissions cost whose requests cannot be decoded ({len(actual.unpriced)}, the first is {actual.unpriced[0]})"
            )
        happened = recorded(connection, runner.facts, since_ms, with_moves=True)
        others, decided = facts.requested(connection, since_ms), facts.decided(connection, since_ms)
        return runner.run(happened, others, decided, since_ms=since_ms, until_ms=now_ms), actual

    database = Database(settings.database_url)
    try:
        if database.path is not None and not database.path.is_file():
            raise NoPast(f"the database {database.path} does not exist. {_WHICH}")
        return await database.read(read)
    except msgspec.MsgspecError as error:
        raise NoPast(f"a row of the database cannot be read: {error}. {_DAMAGED}") from error
    except (NotDurable, Unkeepable) as error:
        raise NoPast(f"the recorded past cannot be read: {error}. {_WHICH} {_DAMAGED}") from error
    finally:
        await database.close()


def _actual(entries: Iterable[Entry], prices: Prices) -> Actual:
    actual = Actual(by_rule=Counter(), cost_by_rule=Counter(), by_chain=Counter(), unpriced=[])
    for entry in entries:
        if not entry.asked_by.startswith("rule:") or entry.state == "refused":
            continue
        actual.by_rule[entry.asked_by] += 1
        actual.by_chain[entry.chain_id] += 1
        if entry.state not in PAID:
            continue
        try:
            price = price_of(entry.kind, entry.request, prices.get(entry.upstream, {}))
        except msgspec.DecodeError:
            actual.unpriced.append(entry.id)
            continue
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
        "decisions": [msgspec.structs.asdict(decision) for decision in report.decisions],
        "unknown": unknowns(report),
        "really": {"by_rule": dict(actual.by_rule), "by_chain": dict(actual.by_chain)},
    }


def _lines(report: Report, actual: Actual) -> list[str]:
    allowed = [suggestion for suggestion in report.suggested if suggestion.is_made]
    refused = Counter(suggestion.rule for suggestion in report.suggested if suggestion.fate == "refused")
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
    for fate, text in _FATES.items():
        if several := sum(suggestion.fate == fate for suggestion in report.suggested):
            lines.append(f"{text}: {several} of {len(report.suggested)}")
    lines += _words(report)
    lines += _chain_lines(report, actual)
    lines += [f"not known: {unknown}" for unknown in unknowns(report)]
    lines += [f"failed {times} times: {message}" for message, times in report.errors.most_common(10)]
    return lines


_FATES = {
    "held": "would wait for approval",
    "waits": "would still wait",
    "not sent": "would not be sent, at no cost",
}


def _words(report: Report) -> list[str]:
    """What would become of those that do not simply leave, the newest last."""
    told = [one for one in report.suggested if one.fate != "sent"]
    lines = [
        f"  {one.rule}: {one.label or one.kind} of {one.task_id}: {one.words}" for one in told[-MOST_TOLD:]
    ]
    if len(told) > MOST_TOLD:
        lines.insert(0, f"  … and {len(told) - MOST_TOLD} more before; --json lists them all")
    return lines


def unknowns(report: Report) -> list[str]:
    """What a trial cannot know, in plain words."""
    sent = sum(one.fate == "sent" and not one.known for one in report.suggested)
    waiting = any(one.fate in ("waits", "held") for one in report.suggested)
    told = []
    if sent:
        told.append(f"what would have followed from submissions that were never really made ({sent})")
    if waiting:
        told.append("what people press, approve or drop from now on")
    if report.suggested:
        told.append("whether a plugin would have vetoed a submission, or requested anything because of it")
    return told + report.notes


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
        if not suggestion.is_made:
            continue
        by_chain.setdefault(suggestion.chain_id, Counter())[suggestion.label] += 1
    if not by_chain:
        return []
    listed = list(by_chain.items())[-MOST_CHAINS:]
    width = max(cells(chain_id) for chain_id in ("chain", *dict(listed)))
    lines = ["", f"{padded('chain', width)}  {'actual':>6}  would submit"]
    for chain_id, labels in listed:
        shown = ", ".join(f"{label} x{times}" if times > 1 else label for label, times in labels.items())
        lines.append(f"{padded(chain_id or 'new', width)}  {actual.by_chain[chain_id]:6}  {shown}")
    if len(by_chain) > MOST_CHAINS:
        lines.append(f"… and {len(by_chain) - MOST_CHAINS} more chains; --json lists them all")
    return lines
