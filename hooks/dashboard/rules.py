"""The rules page: the rules in use with the results of each, and a place to try a rule on recorded events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.trial import Busy, TrialOverran, Trials
from dispatcher.rules.tryout import RecordedEvents, RulesLoaded, TrialRequest
from hooks.api.loaded import receivers_of
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import answer, is_partial
from hooks.problems import Problem
from storage import clock
from storage.reading import pages
from storage.reading.recorded import recorded
from storage.records import ClaimedDelivery

MOST_EVENTS = 2000
"""Most recorded events that a rule is tried on, from the chosen number of days."""

MOST_BYTES = 32 * 1024 * 1024
"""Most bytes of their payloads, because they are copied to another process."""

DAYS = (1, 7, 30)

EXAMPLE = """[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


class Rules:
    """Handlers of the rules page."""

    def __init__(self, context: PageContext) -> None:
        self._context = context
        self._trials = Trials()

    async def show(self, request: Request) -> Response:
        """Show the page."""
        return await self._page(request, written=EXAMPLE, days_chosen=DAYS[0], is_tried=False)

    async def _page(self, request: Request, **tried: object) -> Response:
        counted = await self._context.database.read(pages.deliveries_by_receiver)
        loaded = self._context.get_loaded()
        return answer(
            request,
            "rules.html",
            **self._context.frame_values("rules"),
            status=loaded.rules,
            plugins=loaded.plugins,
            receivers=receivers_of(loaded, counted),
            details={f"rule:{rule.name}": rule for rule in loaded.rules.rules},
            days=DAYS,
            **tried,
        )

    async def try_out(self, request: Request, form: dict[str, str]) -> Response:
        """Run rules over recorded events in a separate process; nothing is sent or written."""
        days = next((choice for choice in DAYS if str(choice) == form.get("days")), DAYS[0])
        now_ms = clock.now_ms()
        since_ms = now_ms - days * 24 * 3600 * 1000
        asked = TrialRequest(
            rules=form.get("rules", ""),
            dialects={name: place.dialect for name, place in self._context.places.items()},
            prices=self._context.prices,
            budget=self._context.budget,
            near={name: place.near for name, place in self._context.places.items()},
            zones={name: place.zone for name, place in self._context.places.items()},
        )

        async def find(wanted: RulesLoaded) -> RecordedEvents:
            found = await self._context.database.read(
                lambda connection: _within_limits(
                    recorded(connection, wanted.signals, since_ms, with_root=wanted.uses_root)
                )
            )
            return msgspec.structs.replace(found, since_ms=since_ms, until_ms=now_ms)

        outcome, mistake = None, ""
        try:
            outcome = await self._trials.run(asked, find)
        except RuleError as error:
            mistake = str(error)
        except TrialOverran as error:
            raise Problem(422, str(error)) from error
        except Busy as error:
            raise Problem(503, str(error)) from error
        if is_partial(request):
            return answer(request, "_tried.html", outcome=outcome, mistake=mistake)
        return await self._page(
            request,
            written=asked.rules,
            days_chosen=days,
            is_tried=True,
            outcome=outcome,
            mistake=mistake,
        )


def _within_limits(events: Iterable[ClaimedDelivery]) -> RecordedEvents:
    """Return the first events, up to `MOST_EVENTS` and `MOST_BYTES`."""
    taken: list[ClaimedDelivery] = []
    taken_bytes = 0
    for event in events:
        taken_bytes += len(event.event.payload) + len(event.latest) + len(event.parent)
        taken_bytes += len(event.root.payload) if event.root is not None else 0
        if len(taken) == MOST_EVENTS or taken_bytes > MOST_BYTES:
            return RecordedEvents(events=taken, is_cut=True)
        taken.append(event)
    return RecordedEvents(events=taken)
