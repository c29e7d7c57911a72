"""The gallery: the newest chains as cards, filters, and the box for a new prompt."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.by_hand import commands
from hooks.dashboard.context import PageContext
from hooks.dashboard.operations_data import paused
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.views import CardView, card_view
from hooks.numbers import number
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from midjourney.requests import Imagine
from storage import clock
from storage.engine import Connection
from storage.reading import gallery
from storage.reading.cards import STATUSES, CardCursor, CardFilter, Head
from storage.records import StageResult

PAGE = 24
LIVE_CARDS = PAGE
"""The newest cards of a gallery, which are updated live. Older cards stay as they were when they were loaded."""

_FILTERS = ("status", "upstream", "rule", "text", "since", "until")


class Gallery:
    """Handlers of the gallery."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the page or, with `before`, its next cards."""
        wanted, before = wanted_of(request), before_of(request)
        at_ms = clock.now_ms()
        (views, after), paused_upstreams = await self._context.database.read(
            lambda connection: (_page(connection, wanted, most=PAGE, before=before), paused(connection))
        )
        values: dict[str, object] = {
            "cards": views,
            "more": _more(dict(request.query_params), after) if after is not None else "",
            "budget": self._context.budget.submissions,
        }
        if before is not None and is_partial(request):
            return answer(request, "_older.html", **values)
        return answer(
            request,
            "gallery.html",
            **values,
            **self._context.frame_values("gallery"),
            paused=paused_upstreams,
            upstreams=list(self._context.upstreams),
            rules=self._context.receiver_names(),
            chosen={name: request.query_params.get(name, "") for name in _FILTERS},
            is_filtered=not wanted.is_empty,
            live=_address("/live/gallery", dict(request.query_params), since_ms=str(at_ms)),
            once=secrets.token_urlsafe(12),
        )

    def topic(self, request: Request) -> GalleryTopic:
        """Return the topic of the page with these filters."""
        more_of = partial(_more, dict(request.query_params))
        return GalleryTopic(wanted_of(request), self._context.budget.submissions, more_of)

    async def imagine(self, request: Request, form: dict[str, str]) -> Response:
        """Request a new picture. The form's `once` makes a second click the same submission, unless the prompt differs."""
        prompt, upstream = (
            form.get("prompt", "").strip(),
            form.get("upstream", "") or self._context.default_upstream,
        )
        if not prompt:
            raise Problem(422, "Write a prompt first")
        if upstream not in self._context.dialects:
            raise Problem(422, f"There is no upstream {upstream!r}")
        once = form.get("once", "")
        key = f"{once}|{hashlib.sha256(prompt.encode()).hexdigest()}" if once else ""
        staged = await self._staged(upstream, prompt, key)
        if staged.refused:
            raise Problem(429, staged.refused)
        if request.headers.get("hx-request") != "true":
            return RedirectResponse(f"/chains/{staged.chain_id}", 303, headers=HEADERS)
        card = await self._context.database.read(lambda connection: gallery.card(connection, staged.chain_id))
        views = [card_view(card, {})] if card is not None else []
        return answer(
            request,
            "_imagined.html",
            cards=views,
            budget=self._context.budget.submissions,
            once=secrets.token_urlsafe(12),
        )

    async def _staged(self, upstream: str, prompt: str, key: str) -> StageResult:
        return await self._context.command(
            lambda connection: commands.submit(
                connection,
                Imagine(prompt=prompt),
                upstream=upstream,
                dialect=self._context.dialects[upstream],
                asked_by="page",
                now_ms=clock.now_ms(),
                idempotency_key=key,
            )
        )


class GalleryTopic:
    """The newest cards of a gallery. `more_of` returns the address of the cards after a cursor."""

    def __init__(self, wanted: CardFilter, budget: int, more_of: Callable[[CardCursor], str]) -> None:
        self._wanted = wanted
        self._budget = budget
        self._more_of = more_of

    @property
    def key(self) -> str:
        """The topic's name, from its filters."""
        return f"gallery {self._wanted}"

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Read only changed cards completely. A card that a page lacks is inserted after the one that precedes it."""
        found = gallery.heads(connection, self._wanted, most=LIVE_CARDS)
        marks = gallery.versions(connection, found)
        changed = [head for head in found if known.get(head.id) != marks[head.id]]
        cards = gallery.cards(connection, changed)
        payloads = gallery.payloads(connection, cards)
        before = {head.id: earlier.id for earlier, head in itertools.pairwise(found)}
        views = [card_view(card, payloads) for card in cards]
        pieces = [
            Piece(
                render=_renderer(view, before.get(view.key, ""), self._budget),
                changed_at_ms=card.changed_at_ms,
            )
            for card, view in zip(cards, views, strict=True)
        ]
        gone = [Piece(render=_remover(key), changed_at_ms=0) for key in _removed(known, marks, found)]
        return Changes(
            marks=marks,
            changed=[*gone, *pieces],
            missed=partial(self._missed, found, pieces, views),
        )

    def _missed(
        self, found: list[Head], pieces: list[Piece], views: list[CardView], since_ms: int
    ) -> list[Piece]:
        """Return the cards changed since then, or the whole list if cards may have left it or more than the live ones are new."""
        has_gap = len(found) == LIVE_CARDS and all(head.place[0] > since_ms for head in found)
        if not self._wanted.status and not has_gap:
            return [piece for piece in pieces if piece.changed_at_ms > since_ms]
        more = self._more_of(found[-1].place) if len(found) == LIVE_CARDS else ""
        values: dict[str, object] = {"cards": views, "more": more, "budget": self._budget}
        return [
            Piece(render=lambda language: render("_changed_list.html", language, **values), changed_at_ms=0)
        ]


def _removed(known: Marks, marks: Marks, found: list[Head]) -> list[str]:
    """Return the cards that no longer match or were replaced by others. Cards that newer ones have displaced may stay."""
    oldest_ms = found[-1].place[0] if len(found) == LIVE_CARDS else 0
    return [
        key
        for key, mark in known.items()
        if key not in marks and isinstance(mark, tuple) and mark[0] > oldest_ms
    ]


def _renderer(view: CardView, after: str, budget: int) -> Callable[[str], str]:
    return lambda language: render("_changed_card.html", language, card=view, after=after, budget=budget)


def _remover(key: str) -> Callable[[str], str]:
    return lambda language: render("_gone_card.html", language, key=key)


def _page(
    connection: Connection, wanted: CardFilter, *, most: int, before: CardCursor | None
) -> tuple[list[CardView], CardCursor | None]:
    found = gallery.page(connection, wanted, most=most, before=before)
    payloads = gallery.payloads(connection, found.cards)
    return [card_view(card, payloads) for card in found.cards], found.next


def wanted_of(request: Request) -> CardFilter:
    """Return the filters of the request's query. Days are in UTC. Raises `Problem` 422."""
    given = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    if given["status"] and given["status"] not in STATUSES:
        raise Problem(422, f"status must be one of {', '.join(STATUSES)}")
    return CardFilter(
        status=given["status"],
        upstream=given["upstream"],
        asked_by=given["rule"],
        # SQLite refuses a LIKE pattern of 50,000 bytes.
        text=given["text"][:500],
        since_ms=_day_ms(given["since"], 0),
        until_ms=_day_ms(given["until"], 1),
    )


def _day_ms(text: str, days: int) -> int:
    if not text:
        return 0
    try:
        day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return int((day + timedelta(days=days)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Problem(422, f"{text[:20]!r} is not a valid date; write it as 2026-11-21") from error


def before_of(request: Request) -> CardCursor | None:
    """Return where the previous page ended. Raises `Problem` 422."""
    text = request.query_params.get("before", "")
    if not text:
        return None
    age, separator, key = text.partition("-")
    at_ms = number(age)
    if not separator or at_ms is None:
        raise Problem(422, "before must be a value that an earlier page returned")
    return at_ms, key


def _more(query: Mapping[str, str], after: CardCursor) -> str:
    return _address("/", query, before=f"{after[0]}-{after[1]}")


def _address(path: str, query: Mapping[str, str], **more: str) -> str:
    kept = {name: query[name] for name in _FILTERS if query.get(name)}
    return f"{path}?{urlencode(kept | more)}"
