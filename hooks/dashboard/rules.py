"""The rules page: the rules in use with the results of each, and a place to try a rule on recorded events."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from dispatcher.plugins.errors import RuleError
from dispatcher.trying.trial import Busy, TrialOverran, Trials
from dispatcher.trying.tryout import RecordedEvents, RulesLoaded, TrialRequest
from hooks.api.loaded import receivers_of
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import answer, answer_with, is_partial
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection
from storage.reading import facts, pages
from storage.reading.facts import Requested
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

    async def _page(self, request: Request, code: int = 200, /, **tried: object) -> Response:
        counted = await self._context.database.read(pages.deliveries_by_receiver)
        loaded = self._context.get_loaded()
        return answer_with(
            code,
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
        until_ms = clock.now_ms()
        since_ms = until_ms - days * 24 * 3600 * 1000
        asked = TrialRequest(
            rules=form.get("rules", ""),
            dialects={name: place.dialect for name, place in self._context.places.items()},
            prices=self._context.prices,
            budget=self._context.budget,
            budgets=self._context.budgets,
            zone=self._context.zone,
            near={name: place.near for name, place in self._context.places.items()},
            zones={name: place.zone for name, place in self._context.places.items()},
        )

        async def find(wanted: RulesLoaded) -> RecordedEvents:
            return await self._context.database.read(partial(_happened, wanted, since_ms, until_ms))

        outcome, mistake, code = None, "", 200
        try:
            outcome = await self._trials.run(asked, find)
        except RuleError as error:
            mistake = str(error)
        except (TrialOverran, Busy) as error:
            mistake, code = str(error), 503 if isinstance(error, Busy) else 422
        if is_partial(request):
            if code != 200:
                raise Problem(code, mistake)
            return answer(request, "_tried.html", outcome=outcome, mistake=mistake)
        return await self._page(
            request,
            code,
            written=asked.rules,
            days_chosen=days,
            is_tried=True,
            outcome=outcome,
            mistake=mistake,
        )


def _happened(wanted: RulesLoaded, since_ms: int, until_ms: int, connection: Connection) -> RecordedEvents:
    """The first facts of this time, up to `MOST_EVENTS` that the rules hear of, and `MOST_BYTES`."""
    taken: list[ClaimedDelivery] = []
    others: list[Requested] = []
    heard = bytes_taken = 0
    is_cut = False
    for one in facts.requested(connection, since_ms):
        bytes_taken += len(one.submission.request)
        if bytes_taken > MOST_BYTES // 2:
            is_cut = True
            break
        others.append(one)
    for event in recorded(connection, wanted.facts, since_ms, with_moves=True):
        heard += event.event.signal in wanted.signals
        bytes_taken += len(event.event.payload) + len(event.latest) + len(event.parent)
        if heard > MOST_EVENTS or bytes_taken > MOST_BYTES:
            is_cut = True
            until_ms = event.event.received_at_ms  # later ones may have changed what would become due
            break
        taken.append(event)
    return RecordedEvents(
        events=taken,
        is_cut=is_cut,
        requested=others,
        decided=list(facts.decided(connection, since_ms)),
        since_ms=since_ms,
        until_ms=until_ms,
    )
