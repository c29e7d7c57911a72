"""The rules that run, how each fares, and a place to try one on what has been."""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections import Counter
from itertools import islice
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dispatcher.errors import RuleError
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.load import load_rules
from dispatcher.rules.whatif import Report, Suggested, WhatIf
from dispatcher.supervisor import in_thread
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import answer
from hooks.problems import Problem
from hooks.session import Visitor
from storage import queries
from storage.engine import Connection
from storage.recorded import recorded
from storage.records import ClaimedDelivery

MOST_EVENTS = 2000
"""Recorded events that a rule is tried on; the newest days have them, or fewer days do."""

MOST_SHOWN = 100
WITHIN_S = 20.0
"""Seconds a try-out gets: an expression can ask for more work than there is time."""

DAYS = (1, 7, 30)

_NOTHING = {"done": 0, "failing": 0, "dead": 0, "fired": 0}

EXAMPLE = """[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What rules would have done: by rule, and the first of all that they would have asked for."""

    events: int
    by_rule: dict[str, tuple[int, float, int]]
    suggested: list[Suggested]
    errors: dict[str, int]
    is_cut: bool


class Rules:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page."""
        counted = await self._desk.database.read(queries.deliveries_by_receiver)
        loaded = self._desk.loaded()
        names = sorted({*loaded["receivers"], *counted})
        return answer(
            request,
            "rules.html",
            **self._desk.shared(visitor, "rules"),
            status=loaded["rules"],
            plugins=loaded["plugins"]["plugins"],
            receivers=[
                {
                    "name": name,
                    "signals": loaded["receivers"].get(name),
                    "counts": _NOTHING | counted.get(name, {}),
                }
                for name in names
            ],
            details={f"rule:{one['name']}": one for one in loaded["rules"]["rules"]},
            example=EXAMPLE,
            days=DAYS,
        )

    async def try_out(self, request: Request, _visitor: Visitor, form: dict[str, str]) -> Response:
        """Run rules over recorded events; nothing is sent or written."""
        days = next((one for one in DAYS if str(one) == form.get("days")), DAYS[0])
        try:
            rules = _rules(form.get("rules", ""), self._desk)
        except RuleError as error:
            return answer(request, "_tried.html", outcome=None, mistake=str(error))
        what_if = WhatIf(rules, self._desk.places, self._desk.prices, self._desk.budget)
        since_ms = time.time_ns() // 1_000_000 - days * 24 * 3600 * 1000

        def ask(connection: Connection) -> list[ClaimedDelivery]:
            return list(islice(recorded(connection, what_if.signals, since_ms), MOST_EVENTS + 1))

        happened = await self._desk.database.read(ask)
        try:
            async with asyncio.timeout(WITHIN_S):
                report = await in_thread(lambda: what_if.run(happened[:MOST_EVENTS]))
        except TimeoutError as error:
            raise Problem(422, f"the rules took more than {WITHIN_S:g} s, and were given up") from error
        outcome = _outcome(report, is_cut=len(happened) > MOST_EVENTS)
        return answer(request, "_tried.html", outcome=outcome, mistake="")


def _rules(text: str, desk: Desk) -> list[CompiledRule]:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"this is not TOML: {error}") from error
    if not tables.get("rules"):
        raise RuleError("there is no rule in it: write [[rules]] above each")
    return load_rules(tables["rules"], file="here", text=text, upstreams=list(desk.upstreams))


def _outcome(report: Report, *, is_cut: bool) -> Outcome:
    allowed = [one for one in report.suggested if not one.refused]
    count, refused = Counter(one.rule for one in allowed), Counter(one.rule for one in report.suggested)
    cost = {name: sum(one.price for one in allowed if one.rule == name) for name in count}
    return Outcome(
        events=report.events,
        by_rule={name: (count[name], cost.get(name, 0.0), refused[name] - count[name]) for name in refused},
        suggested=report.suggested[:MOST_SHOWN],
        errors=dict(report.errors),
        is_cut=is_cut,
    )
