"""What the operations page shows: live figures, charts and upstreams, and lists of what needs a person's decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import asdict

from dispatcher.by_hand import dead_letters
from dispatcher.policy.costs import Prices
from hooks.api import shapes
from hooks.api.reports import UpstreamStatus
from hooks.api.shapes import extended
from hooks.api.upstreams import upstream_statuses
from hooks.dashboard.addressees import NOBODY, Addressee, addressees, with_events
from hooks.dashboard.approvals import ApprovalView, approval_view
from hooks.dashboard.charts import Chart, chart
from hooks.dashboard.context import PageContext
from hooks.dashboard.render import render
from hooks.dashboard.timeline import pretty
from hooks.topics import Changes, Marks, Piece
from midjourney.redact import shortened
from storage import clock, traffic
from storage.engine import Connection
from storage.events import quarantine
from storage.reading import dead_letters as stored_letters
from storage.reading import gauges, pages, waiting
from storage.reading.approval_pages import open_approvals
from storage.reading.dead_letters import DeadLetter, DeadLetterFilter
from storage.reading.waiting import Why
from storage.records import Delivery, Quarantined, Submission
from storage.upstreams import standings

MOST_LISTED = 50
"""Most entries of each list; further ones are counted, and filters find them."""

SPANS = {"1h": (3600, 60), "24h": (86400, 900), "7d": (604800, 3600)}
"""The time spans of charts: their length and step, in seconds."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How large the backlog is."""

    events_waiting: int
    oldest_s: int
    waiting: int
    uncertain: int
    dead: int
    quarantine: int
    refused: int


class SeriesChart(msgspec.Struct, frozen=True, kw_only=True):
    """A series over the span: events per minute, and their mean delay."""

    name: str
    count: Chart
    delay: Chart
    total: int
    slowest_ms: float


class UpstreamLine(UpstreamStatus, frozen=True, kw_only=True):
    """The status of an upstream, with its limits."""

    concurrency: int
    rate: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The live part of the page. For `paused`, see the function of that name."""

    span: str
    spans: list[str]
    figures: Figures
    charts: list[SeriesChart]
    paused: list[tuple[str, str, int]]
    upstreams: list[UpstreamLine]


class LetterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, whom it serves if it is the gateway's, and a submission's request as a person may edit it."""

    letter: DeadLetter
    request: str
    to: Addressee


class FailingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that failed and will be tried again, and whom it serves if it is the gateway's."""

    delivery: Delivery
    to: Addressee


class BodyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantined body: its beginning, and its whole text if that is short enough to edit."""

    entry: Quarantined
    shown: str
    text: str | None


class WaitingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that waits, and what it waits for."""

    submission: Submission
    why: Why


class Lists(msgspec.Struct, frozen=True, kw_only=True):
    """What needs a person's decision, newest first. `matching` counts all matching dead letters; `letters` are the first of them."""

    asked: list[ApprovalView]
    uncertain: list[Submission]
    waiting: list[WaitingEntry]
    refused: list[Submission]
    matching: int
    letters: list[LetterEntry]
    bodies: list[BodyEntry]
    failing: list[FailingEntry]


class OperationsTopic:
    """The live part of the operations page: figures, charts and upstreams."""

    def __init__(self, context: PageContext, span: str) -> None:
        self.key = f"operations {span}"
        self._context = context
        self._span = span

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the live part as one piece, if it has changed."""
        found = state(connection, self._context, self._span)
        marks = {"state": msgspec.json.encode(found)}
        changed = [] if known == marks else [Piece(render=_renderer(found), changed_at_ms=clock.now_ms())]
        return Changes(marks=marks, changed=changed)


def _renderer(found: State) -> Callable[[str], str]:
    return lambda language: render("_changed_operations_state.html", language, **asdict(found))


def state(connection: Connection, context: PageContext, span: str) -> State:
    """Return the state of the system: figures, series over the span, upstreams with their limits."""
    seconds, step = SPANS[span]
    until_ms = (clock.now_ms() // (step * 1000) + 1) * step * 1000
    series = traffic.series(connection, until_ms - seconds * 1000, until_ms, step * 1000)
    now = gauges.gauges(connection)
    of_state = {
        name: sum(n for (_, state), n in now.submissions.items() if state == name)
        for name in ("waiting", "sending", "uncertain", "dead", "refused")
    }
    return State(
        span=span,
        spans=list(SPANS),
        figures=Figures(
            events_waiting=now.events_waiting,
            oldest_s=round(now.oldest_event_s),
            waiting=of_state["waiting"] + of_state["sending"],
            uncertain=of_state["uncertain"],
            dead=of_state["dead"] + now.deliveries.get("dead", 0),
            quarantine=now.quarantine,
            refused=of_state["refused"],
        ),
        charts=[
            SeriesChart(
                name=name,
                count=chart([60 * point.happened / step for point in points]),
                delay=chart([point.mean_ms for point in points]),
                total=sum(point.happened for point in points),
                slowest_ms=max((point.slowest_ms for point in points), default=0),
            )
            for name, points in series.items()
        ],
        paused=paused(connection),
        upstreams=[
            extended(
                UpstreamLine,
                status,
                concurrency=context.upstreams[status.name].concurrency,
                rate=context.upstreams[status.name].rate,
            )
            for status in upstream_statuses(connection, context.upstreams)
        ],
    )


def paused(connection: Connection) -> list[tuple[str, str, int]]:
    """Return name, reason and begin (epoch ms) of each pause that an upstream's own answer has caused."""
    return [
        (standing.name, standing.pause_reason, standing.switched_at_ms)
        for standing in standings.stopped(connection)
    ]


def lists(
    connection: Connection, match: DeadLetterFilter, bodies: quarantine.QuarantineFilter, prices: Prices
) -> Lists:
    """Return what needs a person's decision, newest first."""
    letters = dead_letters.page(connection, match, most=MOST_LISTED)
    failing = pages.failing_deliveries(connection, most=MOST_LISTED)
    dead = [(letter.delivery, letter.event) for letter in letters if letter.delivery is not None]
    waits = waiting.page(connection, most=MOST_LISTED)
    why = waiting.reasons(connection, waits, clock.now_ms())
    to = addressees(connection, [*dead, *with_events(connection, failing)])
    return Lists(
        asked=[approval_view(one, prices) for one in open_approvals(connection, most=MOST_LISTED)],
        uncertain=pages.submission_page(connection, most=MOST_LISTED, equal={"state": "uncertain"}),
        waiting=[WaitingEntry(submission=one, why=why[one.id]) for one in waits],
        refused=pages.submission_page(connection, most=MOST_LISTED, equal={"state": "refused"}),
        matching=stored_letters.count(connection, match),
        letters=[_letter_entry(letter, to) for letter in letters],
        bodies=[_body_entry(entry) for entry in quarantine.page(connection, bodies, most=MOST_LISTED)],
        failing=[FailingEntry(delivery=one, to=to.get(one.id, NOBODY)) for one in failing],
    )


def _body_entry(entry: Quarantined) -> BodyEntry:
    text = pretty(shapes.redacted_beginning(entry.body, quarantine.SHOWN_BYTES))
    is_whole = len(entry.body) < quarantine.SHOWN_BYTES
    return BodyEntry(entry=entry, shown=text[: quarantine.SHOWN_BYTES], text=text if is_whole else None)


def _letter_entry(letter: DeadLetter, to: Mapping[int, Addressee]) -> LetterEntry:
    request = ""
    if letter.submission is not None:
        request = pretty(shortened(shapes.redacted_payload(letter.submission.request)))
    addressee = NOBODY if letter.delivery is None else to.get(letter.delivery.id, NOBODY)
    return LetterEntry(letter=letter, request=request, to=addressee)
