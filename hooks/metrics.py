"""/metrics for Prometheus, as text or OpenMetrics, whichever it requests. Needs the administrator's token, as the API does.

Other modules count the values and know nothing of Prometheus; a scrape reads them as they are at that moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import TypeAlias

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hooks.auth import Admin
from hooks.http.connections import Connections
from hooks.problems import Problem
from storage.engine import Database
from storage.histogram import Histogram
from storage.meter import Sum
from storage.reading import gauges
from storage.reading.gauges import Gauges
from storage.tally import Tally

Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Pairs of label values and the metric's value."""


class Scrape(Collector):
    """The metrics of one moment."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        return self._families


class Metrics:
    """Serves /metrics. Counts commits from its creation on; everything else is read at each scrape."""

    def __init__(self, database: Database, admin: Admin, connections: Connections) -> None:
        self._database = database
        self._connections = connections
        self._admin = admin
        self._commits: Counter[str] = Counter()
        self._lock = Lock()
        database.observe(self._count)

    def routes(self) -> list[BaseRoute]:
        """Return the route of /metrics."""
        return [Route("/metrics", self.metrics)]

    async def metrics(self, request: Request) -> Response:
        """Respond with all metrics as they are now."""
        try:
            self._admin.check(request)
        except Problem as problem:
            return problem.response()
        stored = await self._database.read(gauges.gauges)
        with self._lock:
            commits = self._commits.copy()
        scrape = Scrape(
            [
                *_process_metrics(self._database, commits),
                *_gateway_metrics(self._database.tally),
                *_writer_metrics(self._database.held_by()),
                *_database_metrics(stored),
                *_connection_metrics(self._connections),
            ]
        )
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(scrape), headers={"content-type": content_type})

    def _count(self, stage: str, name: str) -> None:
        if stage == "after":
            # With PostgreSQL several threads write.
            with self._lock:
                self._commits[name] += 1


def _process_metrics(database: Database, commits: Mapping[str, int]) -> Iterator[Metric]:
    """Yield what this process has done."""
    meter, timings = database.meter.since_start, database.timings
    yield _counter(
        "hookchain_commits_total",
        "Units of work that this process has committed, by transaction.",
        [((name,), count) for name, count in commits.items()],
        "transaction",
    )
    yield _counter(
        "hookchain_callbacks_total",
        "Requests to hooks that this process has answered.",
        [(("kept",), meter["callbacks"].happened), (("refused",), meter["refused"].happened)],
        "answer",
    )
    yield _histogram(
        "hookchain_callback_seconds",
        "Time from a callback's request to its commit, in this process.",
        meter["callbacks"],
    )
    yield _histogram(
        "hookchain_callback_refused_seconds",
        "Time from a refused request at a hook to its response, in this process.",
        meter["refused"],
    )
    yield _histogram(
        "hookchain_delivery_wait_seconds",
        "Time from when a delivery was due until this process ran its receiver.",
        meter["deliveries"],
    )
    yield _histogram(
        "hookchain_delivery_run_seconds", "How long receivers ran in this process.", timings.runs
    )
    yield _histogram(
        "hookchain_submission_wait_seconds",
        "Time from when a submission was due until this process sent it.",
        meter["submissions"],
    )
    yield _histogram(
        "hookchain_submission_request_seconds",
        "Time from when this process sent a submission until the upstream answered or the request was given up.",
        timings.submissions,
    )
    requests = HistogramMetricFamily(
        "hookchain_upstream_request_seconds",
        "How long single requests from this process to an upstream took.",
        labels=("upstream", "request"),
    )
    for labels, histogram in timings.requests.items():
        requests.add_metric(labels, *_buckets(histogram))
    yield requests
    yield _histogram(
        "hookchain_transaction_seconds",
        "How long this process's write transactions took, including the commit.",
        database.transactions(),
    )


def _gateway_metrics(tally: Tally) -> Iterator[Metric]:
    """Yield what this process has done for clients of the gateway."""
    yield _counter(
        "hookchain_orders_total",
        "Orders of clients that this process has answered, by what it answered.",
        tally.orders.items(),
        "client",
        "answer",
    )
    yield _histogram(
        "hookchain_order_seconds", "Time from a client's order to its answer, in this process.", tally.answers
    )
    yield _counter(
        "hookchain_hook_messages_total",
        "Tries of this process to tell a client's hook something, and messages that were given up.",
        [((outcome,), count) for outcome, count in tally.messages.items()],
        "outcome",
    )


def _database_metrics(stored: Gauges) -> Iterator[Metric]:
    """Yield what the database holds."""
    yield _gauge(
        "hookchain_submissions",
        "Submissions by upstream and state.",
        stored.submissions.items(),
        "upstream",
        "state",
    )
    yield _gauge(
        "hookchain_submissions_scheduled",
        "Waiting submissions whose time has not come, by upstream.",
        [((name,), count) for name, count in stored.scheduled.items()],
        "upstream",
    )
    yield _gauge(
        "hookchain_deliveries",
        "Deliveries by state.",
        [((state,), count) for state, count in stored.deliveries.items()],
        "state",
    )
    yield _gauge(
        "hookchain_tickets",
        "Tickets that have not ended, by client and state.",
        stored.tickets.items(),
        "client",
        "state",
    )
    yield _gauge(
        "hookchain_events_waiting",
        "Events that have not yet been handed to their receivers.",
        [((), stored.events_waiting)],
    )
    yield _gauge(
        "hookchain_oldest_event_seconds", "Age of the oldest of these events.", [((), stored.oldest_event_s)]
    )
    yield _gauge("hookchain_approvals_open", "Approvals that nobody has decided.", [((), stored.approvals)])
    yield _gauge("hookchain_quarantine", "Callbacks that could not be understood.", [((), stored.quarantine)])
    yield _gauge(
        "hookchain_upstream_paused",
        "1 while submitting is paused, by a person or because of the account.",
        [((name,), 1) for name in stored.paused],
        "upstream",
    )


def _writer_metrics(by: Mapping[str, Sum]) -> Iterator[Metric]:
    """Yield which transactions held this process's writer, and for how long."""
    seconds = SummaryMetricFamily(
        "hookchain_writer_seconds",
        'How long transactions held this process\'s writer, by name; the part they share is "commit".',
        labels=("transaction",),
    )
    for name, held in by.items():
        seconds.add_metric((name,), held.happened, held.total_us / 1_000_000)
    yield seconds
    yield _gauge(
        "hookchain_writer_longest_seconds",
        "The longest time that a transaction held the writer since the process started, by name.",
        [((name,), held.slowest_us / 1_000_000) for name, held in by.items()],
        "transaction",
    )


def _connection_metrics(connections: Connections) -> Iterator[Metric]:
    """Yield what this process's HTTP server holds and has refused."""
    tally = connections.tally
    yield _gauge("hookchain_connections", "Open HTTP connections of this process.", [((), len(connections))])
    yield _counter(
        "hookchain_connections_shed_total",
        "Connections that this process closed to make room.",
        [((why,), count) for why, count in tally.shed.items()],
        "why",
    )
    yield _counter(
        "hookchain_requests_refused_total",
        "Requests that this process refused before the application saw them, or whose response the client did not read.",
        [((why,), count) for why, count in tally.refused.items()],
        "why",
    )
    yield _counter(
        "hookchain_upgrades_ignored_total",
        "Offers to upgrade the protocol that this process ignored.",
        [((), tally.upgrades_ignored)],
    )


def _counter(name: str, help_text: str, values: Values, *labels: str) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, help_text: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, help_text)
    family.add_metric((), *_buckets(histogram))
    return family


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulative counts by upper bound, and the sum; bounds and sum are in seconds."""
    bounds = [*(str(bound_ms / 1000) for bound_ms in histogram.bounds_ms), "+Inf"]
    return list(zip(bounds, histogram.cumulative(), strict=True)), histogram.total_us / 1_000_000
