"""What the page of operations shows: figures, charts and upstreams, which are live, and lists of what waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from dispatcher import letters
from hooks.api import shapes
from hooks.api.upstreams import standing
from hooks.dashboard.charts import chart
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import render
from hooks.dashboard.timeline import pretty
from hooks.topics import Look, Marks, Piece
from midjourney.redact import shortened
from storage import gauges, quarantine, queries, traffic
from storage import letters as stored_letters
from storage.engine import Connection
from storage.letters import Letter, Match
from storage.records import Quarantined

SHOWN = 32 * 1024
"""Characters of a body that a page shows, and bytes of one that may be edited there: fifty of them are on it."""

MOST = 50
"""Of each list; what is more is counted, and found by filters."""

SPANS = {"1h": (3600, 60), "24h": (86400, 900), "7d": (604800, 3600)}
"""What charts show: seconds in all, and seconds of a step."""


class OperationsTopic:
    """Figures, charts and upstreams."""

    def __init__(self, desk: Desk, span: str) -> None:
        self.key = f"operations {span}"
        self._desk = desk
        self._span = span
        self._looked_s = 0.0

    def look(self, connection: Connection, known: Marks) -> Look:
        """One piece."""
        found = state(connection, self._desk, self._span)
        marks = {"state": msgspec.json.encode(found)}
        changed = [] if known == marks else [Piece(render=_renderer(found), changed_at_ms=_now_ms())]
        return Look(marks=marks, changed=changed)


def _renderer(found: dict[str, Any]) -> Callable[[str], str]:
    return lambda language: render("_changed_state.html", language, **found)


def state(connection: Connection, desk: Desk, span: str) -> dict[str, Any]:
    """How all is doing: figures, series of the span, upstreams with their limits."""
    seconds, step = SPANS[span]
    until_ms = (_now_ms() // (step * 1000) + 1) * step * 1000
    series = traffic.series(connection, until_ms - seconds * 1000, until_ms, step * 1000)
    now = gauges.gauges(connection)
    of_state = {
        name: sum(n for (_, state), n in now.submissions.items() if state == name)
        for name in ("waiting", "sending", "uncertain", "dead", "refused")
    }
    return {
        "span": span,
        "spans": list(SPANS),
        "figures": {
            "events_waiting": now.events_waiting,
            "oldest_s": round(now.oldest_event_s),
            "waiting": of_state["waiting"] + of_state["sending"],
            "uncertain": of_state["uncertain"],
            "dead": of_state["dead"] + now.deliveries.get("dead", 0),
            "quarantine": now.quarantine,
            "refused": of_state["refused"],
        },
        "charts": [
            {
                "name": name,
                "count": chart([60 * one.happened / step for one in points]),
                "delay": chart([one.mean_ms for one in points]),
                "total": sum(one.happened for one in points),
                "slowest_ms": max((one.slowest_ms for one in points), default=0),
            }
            for name, points in series.items()
        ],
        "upstreams": [
            one
            | {
                "concurrency": desk.upstreams[one["name"]].concurrency,
                "rate": desk.upstreams[one["name"]].rate,
            }
            for one in standing(connection, desk.upstreams)
        ],
    }


def lists(connection: Connection, match: Match, bodies: quarantine.Match) -> dict[str, Any]:
    """What waits for a person, newest first."""
    return {
        "uncertain": queries.submission_page(connection, most=MOST, equal={"state": "uncertain"}),
        "refused": queries.submission_page(connection, most=MOST, equal={"state": "refused"}),
        "matching": stored_letters.count(connection, match),
        "letters": [_shown(one) for one in letters.page(connection, match, most=MOST)],
        "bodies": [_shown_body(one) for one in quarantine.page(connection, bodies, most=MOST)],
        "failing": queries.failing_deliveries(connection, most=MOST),
    }


def _shown_body(entry: Quarantined) -> dict[str, Any]:
    """A body without secrets, as a person may edit it; not one that is too large for a page."""
    text = pretty(shapes.shown(entry.body))
    return {"entry": entry, "shown": text[:SHOWN], "text": text if len(entry.body) <= SHOWN else None}


def _shown(letter: Letter) -> dict[str, Any]:
    """A letter, and a submission's request as a person may edit it."""
    request = ""
    if letter.submission is not None:
        request = pretty(shortened(shapes.shown(letter.submission.request)))
    return {"letter": letter, "request": request}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
