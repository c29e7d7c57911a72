"""The rules that run, how each fares, and a place to try one on what has been."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dispatcher.errors import RuleError
from dispatcher.rules.trial import Busy, GivenUp, Trials
from dispatcher.rules.tryout import Asked, Happened
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import answer, is_partial
from hooks.problems import Problem
from hooks.session import Visitor
from storage import queries
from storage.recorded import recorded
from storage.records import ClaimedDelivery

MOST_EVENTS = 2000
"""Recorded events that a rule is tried on; the newest days have them, or fewer days do."""

MOST_BYTES = 32 * 1024 * 1024
"""Of their payloads, as many as are tried: they are copied to another process."""

DAYS = (1, 7, 30)

_NOTHING = {"done": 0, "failing": 0, "dead": 0, "fired": 0}

EXAMPLE = """[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


class Rules:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._trials = Trials()

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page."""
        return await self._page(request, visitor, written=EXAMPLE, days_chosen=DAYS[0], is_tried=False)

    async def _page(self, request: Request, visitor: Visitor, **tried: Any) -> Response:
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
            days=DAYS,
            **tried,
        )

    async def try_out(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Run rules over recorded events, in a process of its own; nothing is sent or written."""
        days = next((one for one in DAYS if str(one) == form.get("days")), DAYS[0])
        since_ms = time.time_ns() // 1_000_000 - days * 24 * 3600 * 1000
        asked = Asked(
            rules=form.get("rules", ""),
            dialects={name: place.dialect for name, place in self._desk.places.items()},
            prices=self._desk.prices,
            budget=self._desk.budget,
        )

        async def find(signals: Sequence[str]) -> Happened:
            return await self._desk.database.read(lambda one: _cut(recorded(one, signals, since_ms)))

        outcome, mistake = None, ""
        try:
            outcome = await self._trials.run(asked, find)
        except RuleError as error:
            mistake = str(error)
        except GivenUp as error:
            raise Problem(422, str(error)) from error
        except Busy as error:
            raise Problem(503, str(error)) from error
        if is_partial(request):
            return answer(request, "_tried.html", outcome=outcome, mistake=mistake)
        told = {"is_tried": True, "outcome": outcome, "mistake": mistake}
        return await self._page(request, visitor, written=asked.rules, days_chosen=days, **told)


def _cut(events: Iterable[ClaimedDelivery]) -> Happened:
    """The first of them."""
    taken: list[ClaimedDelivery] = []
    taken_bytes = 0
    for event in events:
        taken_bytes += len(event.event.payload) + len(event.latest) + len(event.parent)
        if len(taken) == MOST_EVENTS or taken_bytes > MOST_BYTES:
            return Happened(events=taken, is_cut=True)
        taken.append(event)
    return Happened(events=taken)
