"""/metrics: what a Prometheus scrapes, in its text format (0.0.4). Behind the admin token, as the API is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hooks.auth import Admin
from hooks.problems import Problem
from storage import gauges
from storage.engine import Database
from storage.gauges import Gauges
from storage.meter import Series, Sum

CONTENT_TYPE = "text/plain; version=0.0.4"

_HELP = {
    "hookchain_commits_total": ("counter", "Units of work this process has committed, by transaction."),
    "hookchain_callbacks_total": ("counter", "Requests to the hook this process has answered."),
    "hookchain_callback_seconds": ("summary", "From a callback's request to its commit, in this process."),
    "hookchain_submission_wait_seconds": (
        "summary",
        "How long after it was due a submission was sent by us.",
    ),
    "hookchain_delivery_wait_seconds": ("summary", "How long after it was due a receiver was run by us."),
    "hookchain_submissions": ("gauge", "Submissions by upstream and state."),
    "hookchain_deliveries": ("gauge", "Deliveries by state."),
    "hookchain_events_waiting": ("gauge", "Events whose receivers have not been told yet."),
    "hookchain_oldest_event_seconds": ("gauge", "Age of the oldest of those."),
    "hookchain_quarantine": ("gauge", "Callbacks that could not be understood."),
    "hookchain_upstream_paused": ("gauge", "1 while submitting is stopped by hand."),
}


class Metrics:
    """Counts commits from its making on, beside the database's meter; the rest is read when it is asked for."""

    def __init__(self, database: Database, admin: Admin) -> None:
        self._database = database
        self._admin = admin
        self._commits: Counter[str] = Counter()
        database.observe(self._count)

    def routes(self) -> list[BaseRoute]:
        """The one path."""
        return [Route("/metrics", self.metrics)]

    async def metrics(self, request: Request) -> Response:
        """All figures, as they are now."""
        try:
            self._admin.check(request)
        except Problem as problem:
            return problem.response()
        found = await self._database.read(gauges.gauges)
        return Response(
            "\n".join(_lines(found, self._commits, self._database.meter.since_start)) + "\n",
            media_type=CONTENT_TYPE,
        )

    def _count(self, stage: str, name: str) -> None:
        if stage == "after":
            self._commits[name] += 1


def _lines(found: Gauges, commits: Mapping[str, int], counted: Mapping[Series, Sum]) -> Iterator[str]:
    yield from _family("hookchain_commits_total", {f'transaction="{name}"': n for name, n in commits.items()})
    yield from _family(
        "hookchain_callbacks_total",
        {
            'answer="kept"': counted["callbacks"].happened,
            'answer="refused"': counted["refused"].happened,
        },
    )
    yield from _summary("hookchain_callback_seconds", counted["callbacks"])
    yield from _summary("hookchain_submission_wait_seconds", counted["submissions"])
    yield from _summary("hookchain_delivery_wait_seconds", counted["deliveries"])
    yield from _family(
        "hookchain_submissions",
        {f'upstream="{name}",state="{state}"': n for (name, state), n in found.submissions.items()},
    )
    yield from _family(
        "hookchain_deliveries", {f'state="{state}"': n for state, n in found.deliveries.items()}
    )
    yield from _family("hookchain_events_waiting", {"": found.events_waiting})
    yield from _family("hookchain_oldest_event_seconds", {"": found.oldest_event_s})
    yield from _family("hookchain_quarantine", {"": found.quarantine})
    yield from _family("hookchain_upstream_paused", {f'upstream="{name}"': 1 for name in found.paused})


def _family(name: str, values: Mapping[str, float]) -> Iterator[str]:
    yield from _head(name)
    for labels, value in values.items():
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _summary(name: str, counted: Sum) -> Iterator[str]:
    """Without quantiles: the mean over any time is the rate of the sum by the rate of the count."""
    yield from _head(name)
    yield f"{name}_sum {counted.total_us / 1_000_000}"
    yield f"{name}_count {counted.happened}"


def _head(name: str) -> Iterator[str]:
    kind, told = _HELP[name]
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"
