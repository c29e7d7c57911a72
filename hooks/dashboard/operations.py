"""Operations: how all is doing, what waits for a person, and what the person does about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher import letters, readmit
from hooks.api import shapes
from hooks.api.letters import edit_and_retry
from hooks.api.upstreams import standing
from hooks.dashboard.charts import chart
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.timeline import pretty
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.stream import Look, Marks, Piece
from midjourney.redact import redacted, shortened
from storage import gauges, quarantine, queries, settlements, staging, submissions, traffic
from storage import letters as stored_letters
from storage import upstreams as stored
from storage.engine import Connection
from storage.letters import Letter, Match

SHOWN = 32 * 1024
"""Characters of a body that a page shows, and bytes of one that may be edited there: fifty of them are on it."""

MOST = 50
"""Of each list; what is more is counted, and found by filters."""

SPANS = {"1h": (3600, 60), "24h": (86400, 900), "7d": (604800, 3600)}
"""What charts show: seconds in all, and seconds of a step."""


class Operations:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page. `receiver`, `kind`, `upstream` and `text` choose dead letters."""
        match, span = _match(dict(request.query_params)), _span(request)
        at_ms = _now_ms()

        def ask(connection: Connection) -> dict[str, Any]:
            return {
                **state(connection, self._desk, span),
                **lists(connection, match),
            }

        found = await self._desk.database.read(ask)
        return answer(
            request,
            "operations.html",
            **self._desk.shared(visitor, "operations"),
            **found,
            match=match,
            receivers=self._desk.rule_names(),
            since_ms=at_ms,
        )

    def topic(self, request: Request) -> OperationsTopic:
        """What the upper part of the page shows."""
        return OperationsTopic(self._desk, _span(request))

    async def pause(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Submit nothing to an upstream until it is resumed."""
        name = self._named(request)
        await self._desk.command(lambda connection: stored.pause(connection, name))
        return await self._after(request, visitor)

    async def resume(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Go on."""
        name = self._named(request)
        await self._desk.command(lambda connection: stored.resume(connection, name))
        return await self._after(request, visitor)

    async def settle(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Say what became of an uncertain submission: accepted (with its task), or not, and it is sent again."""
        submission_id, accepted = request.path_params["id"], form.get("became") == "accepted"
        if form.get("became") not in ("accepted", "nothing"):
            raise Problem(422, "say whether the upstream accepted it")

        def settle(connection: Connection) -> bool:
            found = submissions.find(connection, submission_id)
            return found is not None and settlements.settle_by_hand(
                connection,
                found,
                accepted=accepted,
                task_id=form.get("task_id", "").strip(),
                now_ms=_now_ms(),
            )

        if not await self._desk.command(settle):
            raise Problem(404, "that submission is no longer uncertain")
        return await self._after(request, visitor)

    async def release(self, request: Request, visitor: Visitor, _form: dict[str, str]) -> Response:
        """Send what the budget had refused."""
        submission_id = request.path_params["id"]
        if not await self._desk.command(lambda one: staging.release(one, submission_id, _now_ms())):
            raise Problem(404, "that submission is no longer refused")
        return await self._after(request, visitor)

    async def letter(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Retry a dead letter, as it is or with an edited request, or drop it."""
        letter_id, now_ms = request.path_params["id"], _now_ms()
        match form.get("do"):
            case "retry":
                done = await self._desk.command(lambda one: letters.retry(one, letter_id, now_ms))
            case "edit":
                edited = _edited(form.get("request", ""))
                done = await edit_and_retry(
                    self._desk.database, self._desk.dialects, letter_id, edited, now_ms
                )
                self._desk.database.wakeups.wake("events", "submissions")
            case "drop":
                done = await self._desk.command(lambda one: letters.drop(one, letter_id, now_ms))
            case _:
                raise Problem(422, "retry it, edit it or drop it")
        if not done:
            raise Problem(404, "that letter is no longer there")
        return await self._after(request, visitor)

    async def all_letters(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Retry or drop all dead letters that match what was looked for."""
        work = {"retry": letters.retry_all, "drop": letters.drop_all}.get(form.get("do", ""))
        if work is None:
            raise Problem(422, "retry them or drop them")
        match, now_ms = _match(form), _now_ms()
        _check_all(form, is_empty=match.is_empty)
        while await self._desk.command(lambda one: work(one, match, now_ms)):
            pass
        return await self._after(request, visitor)

    async def body(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Read a quarantined body again, as it is or edited, or forget it."""
        entry_id, database = request.path_params["id"], self._desk.database
        match form.get("do"):
            case "retry":
                done = await readmit.retry(database, entry_id, _now_ms()) is not None
            case "edit":
                edited = form.get("body", "").encode()
                done = await readmit.retry(database, entry_id, _now_ms(), body=edited) is not None
            case "drop":
                done = await self._desk.command(lambda one: quarantine.drop(one, entry_id))
            case _:
                raise Problem(422, "retry it, edit it or drop it")
        if not done:
            raise Problem(404, "that body is no longer there")
        return await self._after(request, visitor)

    async def all_bodies(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """Read all quarantined bodies again, or forget them."""
        match, now_ms = quarantine.Match(text=form.get("text", "").strip()), _now_ms()
        _check_all(form, is_empty=match.is_empty)
        if form.get("do") == "drop":
            while await self._desk.command(lambda one: quarantine.drop_all(one, match, now_ms)):
                pass
        else:
            await readmit.retry_all(self._desk.database, match, now_ms)
        return await self._after(request, visitor)

    async def _after(self, request: Request, visitor: Visitor) -> Response:
        """The page as it is then; its filters are in the address that it was asked from."""
        if not is_partial(request):
            return RedirectResponse("/operations", 303, headers=HEADERS)
        return await self.show(_as_asked(request), visitor)

    def _named(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._desk.upstreams:
            raise Problem(404, f"there is no upstream {name!r}")
        return name


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


def lists(connection: Connection, match: Match) -> dict[str, Any]:
    """What waits for a person, newest first."""
    return {
        "uncertain": queries.submission_page(connection, most=MOST, equal={"state": "uncertain"}),
        "refused": queries.submission_page(connection, most=MOST, equal={"state": "refused"}),
        "matching": stored_letters.count(connection, match),
        "letters": [_shown(one) for one in letters.page(connection, match, most=MOST)],
        "bodies": [
            {
                "entry": one,
                "text": _editable(one.body),
                "shown": pretty(shapes.shown(one.body))[:SHOWN],
            }
            for one in quarantine.page(connection, quarantine.Match(), most=MOST)
        ],
        "failing": queries.failing_deliveries(connection, most=MOST),
    }


def _editable(body: bytes) -> str | None:
    """A body as a person may edit it; None for one that is too large for a page."""
    return body.decode("utf-8", "replace") if len(body) <= SHOWN else None


def _shown(letter: Letter) -> dict[str, Any]:
    """A letter, and a submission's request as a person may edit it."""
    request = ""
    if letter.submission is not None:
        request = pretty(shortened(redacted(msgspec.json.decode(letter.submission.request))))
    return {"letter": letter, "request": request}


def _edited(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Problem(422, f"the request is not JSON: {error}") from error


def _match(given: dict[str, str]) -> Match:
    kind = given.get("kind", "")
    if kind not in ("", "delivery", "submission"):
        raise Problem(422, "kind is delivery or submission")
    return Match(
        kind=kind,  # type: ignore[arg-type]  # one of three, see above
        receiver=given.get("receiver", ""),
        upstream=given.get("upstream", ""),
        text=given.get("text", "").strip(),
    )


def _check_all(form: dict[str, str], *, is_empty: bool) -> None:
    """That nothing is named means all of them, and must be said."""
    if is_empty and form.get("all") != "1":
        raise Problem(422, "say which, or all of them")


def _span(request: Request) -> str:
    span = request.query_params.get("span", "1h")
    return span if span in SPANS else "1h"


def _as_asked(request: Request) -> Request:
    """The request for the page that the person looks at; without its filters where they are none."""
    try:
        query = urlsplit(request.headers.get("hx-current-url", "")).query
        _match(dict(parse_qsl(query)))
    except (ValueError, Problem):
        query = ""
    return Request({**request.scope, "query_string": query.encode()})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
