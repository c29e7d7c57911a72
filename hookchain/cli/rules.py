"""`hookchain rules`: check rules, and try them before they submit anything."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from dispatcher.rules.compile import CompiledRule, asked_keys
from dispatcher.rules.whatif import Report, WhatIf
from hookchain.asking import places_of
from hookchain.cli.api import running_server
from hookchain.cli.decisions import since_ms
from hookchain.rules import read_rules
from hookchain.settings import SANDBOX, Settings, load_settings
from midjourney.dialects import Upstream
from midjourney.prices import price_of
from storage import ledger
from storage.engine import Connection, Database
from storage.ledger import Entry
from storage.recorded import recorded

rules = typer.Typer(help="Check, try and list rules.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="TOML file with [[rules]].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

MOST_CHAINS = 20
"""Chains that are printed; --json has them all."""


@rules.command("check")
def check(file: File = Path("hookchain.toml")) -> None:
    """Check the rules of a file. Reports what is wrong, where, and what to write instead."""
    found = read_rules(_there(file), load_settings().upstreams)
    for one in found:
        print(f"{one.where}: {one.rule.name}: on {one.rule.on}, {', '.join(asked_keys(one.rule))}")
    print(f"{len(found)} rules, all right")


@rules.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """List the active rules, and how often each one fired."""
    told = running_server().get("/api/rules")
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    fired = {one["name"]: one for one in told["receivers"]}
    for one in told["rules"]:
        counts = fired.get(f"rule:{one['name']}", {})
        print(
            f"{one['name']}\t{one['where']}\ton {one['on']}\tfired {counts.get('fired', 0)} of "
            f"{counts.get('done', 0)} times, {counts.get('dead', 0)} dead"
        )
    if told["error"]:
        print(f"the file has changed, and is not in use: {told['error']}")


@rules.command("try")
def try_rules(
    file: File,
    since: Annotated[str, typer.Option(help="How far back to look, such as 12h, 7d or 4w.")] = "7d",
    as_json: AsJson = False,
) -> None:
    """Show what rules would have submitted. Runs them over recorded events and sends nothing."""
    settings = _with_upstream(load_settings())
    compiled = read_rules(_there(file), settings.upstreams)
    report, real = asyncio.run(_tried(settings, compiled, since_ms(since)))
    print(
        json.dumps(_json(report, real), ensure_ascii=False, indent=2)
        if as_json
        else "\n".join(_told(report, real))
    )


def _there(file: Path) -> Path:
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist")
    return file


def _with_upstream(settings: Settings) -> Settings:
    """Without an upstream, what was recorded came from the built-in sandbox."""
    if settings.upstreams:
        return settings
    return msgspec.structs.replace(
        settings, upstreams={SANDBOX: Upstream(name=SANDBOX, url="http://127.0.0.1")}
    )


class Real(msgspec.Struct, frozen=True, kw_only=True):
    """What was really submitted: how many, at which price, by rule and by chain."""

    by_rule: Counter[str]
    cost_by_rule: Counter[str]
    by_chain: Counter[str]


async def _tried(settings: Settings, rules: list[CompiledRule], since: int) -> tuple[Report, Real]:
    prices = {name: upstream.prices for name, upstream in settings.upstreams.items()}
    what_if = WhatIf(rules, places_of(settings), prices, settings.budget)

    def ask(connection: Connection) -> tuple[Report, Real]:
        real = _really(ledger.entries(connection, since), prices)
        return what_if.run(recorded(connection, what_if.signals, since)), real

    database = Database(settings.database_url)
    try:
        return await database.read(ask)
    finally:
        await database.close()


def _really(entries: Any, prices: Any) -> Real:
    real = Real(by_rule=Counter(), cost_by_rule=Counter(), by_chain=Counter())
    entry: Entry
    for entry in entries:
        if not entry.asked_by.startswith("rule:"):
            continue
        real.by_rule[entry.asked_by] += 1
        real.by_chain[entry.chain_id] += 1
        price = price_of(entry.kind, entry.request, prices.get(entry.upstream, {}))
        real.cost_by_rule[entry.asked_by] += price  # type: ignore[assignment]  # a counter of amounts
    return real


def _json(report: Report, real: Real) -> dict[str, Any]:
    return {
        "events": report.events,
        "suggested": [msgspec.structs.asdict(one) for one in report.suggested],
        "repeats": report.repeats,
        "errors": dict(report.errors),
        "really": {"by_rule": dict(real.by_rule), "by_chain": dict(real.by_chain)},
    }


def _told(report: Report, real: Real) -> list[str]:
    allowed = [one for one in report.suggested if not one.refused]
    refused = Counter(one.rule for one in report.suggested if one.refused)
    count = Counter(one.rule for one in allowed)
    lines = [f"{report.events} events were tried; nothing was sent", ""]
    lines.append(
        f"{'rule':30}  {'would submit':>12}  {'cost':>9}  {'refused':>8}  {'really':>7}  {'cost':>9}"
    )
    for rule in sorted({*count, *refused, *real.by_rule}):
        cost = sum(one.price for one in allowed if one.rule == rule)
        lines.append(
            f"{rule:30}  {count[rule]:12}  {cost:9.4g}  {refused[rule]:8}  {real.by_rule[rule]:7}  "
            f"{real.cost_by_rule[rule]:9.4g}"
        )
    lines.append(
        f"{'total':30}  {len(allowed):12}  {sum(one.price for one in allowed):9.4g}  {refused.total():8}  "
        f"{real.by_rule.total():7}  {sum(real.cost_by_rule.values()):9.4g}"
    )
    lines += _chains(report, real)
    lines += [f"failed {times} times: {message}" for message, times in report.errors.most_common(10)]
    return lines


def _chains(report: Report, real: Real) -> list[str]:
    by_chain: dict[str, Counter[str]] = {}
    for one in report.suggested:
        by_chain.setdefault(one.chain_id, Counter())[one.label] += 1
    if not by_chain:
        return []
    lines = ["", f"{'chain':18}  {'really':>6}  would submit"]
    for chain_id, labels in list(by_chain.items())[-MOST_CHAINS:]:
        asked = ", ".join(f"{label} x{times}" if times > 1 else label for label, times in labels.items())
        lines.append(f"{chain_id or 'new':18}  {real.by_chain[chain_id]:6}  {asked}")
    if len(by_chain) > MOST_CHAINS:
        lines.append(f"… and {len(by_chain) - MOST_CHAINS} more chains; --json lists them all")
    return lines
