"""The gallery: newest chains as cards, filters over them, and the box for a new prompt."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher import commands
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import HEADERS, answer, is_partial, render
from hooks.dashboard.views import CardView, card_view
from hooks.numbers import number
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.topics import Look, Marks, Piece
from midjourney.requests import Imagine
from storage import gallery
from storage.cards import STATUSES, Head, Place, Wanted
from storage.engine import Connection
from storage.records import StageResult

PAGE = 24
LIVE = PAGE
"""Cards of a gallery that are told when they change: the newest. Older ones are as they were when they were loaded."""

_FILTERS = ("status", "upstream", "rule", "text", "since", "until")


class Gallery:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page, or with `before` the next cards of it."""
        wanted, before = wanted_of(request), before_of(request)
        at_ms = time.time_ns() // 1_000_000
        views, after = await self._desk.database.read(
            lambda connection: _page(connection, wanted, most=PAGE, before=before)
        )
        values: dict[str, Any] = {
            "cards": views,
            "more": _more(dict(request.query_params), after) if after is not None else "",
            "budget": self._desk.budget.submissions,
        }
        if before is not None and is_partial(request):
            return answer(request, "_older.html", **values)
        return answer(
            request,
            "gallery.html",
            **values,
            **self._desk.shared(visitor, "gallery"),
            upstreams=list(self._desk.upstreams),
            rules=self._desk.rule_names(),
            chosen={name: request.query_params.get(name, "") for name in _FILTERS},
            is_filtered=not wanted.is_anything,
            live=_address("/live/gallery", dict(request.query_params), since_ms=str(at_ms)),
            once=secrets.token_urlsafe(12),
        )

    def topic(self, request: Request) -> GalleryTopic:
        """What the page of these filters shows."""
        more_of = partial(_more, dict(request.query_params))
        return GalleryTopic(wanted_of(request), self._desk.budget.submissions, more_of)

    async def imagine(self, request: Request, _visitor: Visitor, form: dict[str, str]) -> Response:
        """Ask for a new picture; the form's `once` makes a second click the same one, and another prompt another."""
        prompt, upstream = form.get("prompt", "").strip(), form.get("upstream", "") or self._desk.first
        if not prompt:
            raise Problem(422, "write a prompt first")
        if upstream not in self._desk.dialects:
            raise Problem(422, f"there is no upstream {upstream!r}")
        once = form.get("once", "")
        key = f"{once}|{hashlib.sha256(prompt.encode()).hexdigest()}" if once else ""
        staged = await self._staged(upstream, prompt, key)
        if request.headers.get("hx-request") != "true":
            return RedirectResponse(f"/chains/{staged.chain_id}", 303, headers=HEADERS)
        card = await self._desk.database.read(lambda connection: gallery.card(connection, staged.chain_id))
        views = [card_view(card, {})] if card is not None else []
        return answer(
            request,
            "_imagined.html",
            cards=views,
            budget=self._desk.budget.submissions,
            once=secrets.token_urlsafe(12),
        )

    async def _staged(self, upstream: str, prompt: str, key: str) -> StageResult:
        return await self._desk.command(
            lambda connection: commands.submit(
                connection,
                Imagine(prompt=prompt),
                upstream=upstream,
                dialect=self._desk.dialects[upstream],
                asked_by="page",
                now_ms=time.time_ns() // 1_000_000,
                idempotency_key=key,
            )
        )


class GalleryTopic:
    """The newest cards of a gallery. `more_of` makes the address of what comes after a place."""

    def __init__(self, wanted: Wanted, budget: int, more_of: Callable[[Place], str]) -> None:
        self._wanted = wanted
        self._budget = budget
        self._more_of = more_of

    @property
    def key(self) -> str:
        """Its filters."""
        return f"gallery {self._wanted}"

    def look(self, connection: Connection, known: Marks) -> Look:
        """Only what has changed is asked for whole. A card that a page lacks goes behind the one that stands before it."""
        found = gallery.heads(connection, self._wanted, most=LIVE)
        marks = gallery.marks(connection, found)
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
        gone = [Piece(render=_remover(key), changed_at_ms=0) for key in _gone(known, marks, found)]
        return Look(
            marks=marks,
            changed=[*gone, *pieces],
            missed=partial(self._missed, found, pieces, views),
        )

    def _missed(
        self, found: list[Head], pieces: list[Piece], views: list[CardView], told_ms: int
    ) -> list[Piece]:
        """What changed; or the list as it is now, where cards may have left it, or more may have come than are live."""
        has_gap = len(found) == LIVE and all(one.place[0] > told_ms for one in found)
        if not self._wanted.status and not has_gap:
            return [one for one in pieces if one.changed_at_ms > told_ms]
        more = self._more_of(found[-1].place) if len(found) == LIVE else ""
        values: dict[str, Any] = {"cards": views, "more": more, "budget": self._budget}
        return [
            Piece(render=lambda language: render("_changed_list.html", language, **values), changed_at_ms=0)
        ]


def _gone(known: Marks, marks: Marks, found: list[Head]) -> list[str]:
    """Cards that are no longer wanted, or have become others. Those that newer ones have pushed out may stay."""
    oldest_ms = found[-1].place[0] if len(found) == LIVE else 0
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
    connection: Connection, wanted: Wanted, *, most: int, before: Place | None
) -> tuple[list[CardView], Place | None]:
    found = gallery.page(connection, wanted, most=most, before=before)
    payloads = gallery.payloads(connection, found.cards)
    return [card_view(card, payloads) for card in found.cards], found.next


def wanted_of(request: Request) -> Wanted:
    """The filters of an address. Days are those of UTC. Raises `Problem` 422."""
    given = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    if given["status"] and given["status"] not in STATUSES:
        raise Problem(422, f"status is one of {', '.join(STATUSES)}")
    return Wanted(
        status=given["status"],
        upstream=given["upstream"],
        asked_by=given["rule"],
        text=given["text"][:500],  # SQLite refuses a LIKE of 50,000 bytes
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
        raise Problem(422, f"{text[:20]!r} is no day: write it as 2026-11-21") from error


def before_of(request: Request) -> Place | None:
    """Where the page before ended. Raises `Problem` 422."""
    text = request.query_params.get("before", "")
    if not text:
        return None
    age, found, key = text.partition("-")
    at_ms = number(age)
    if not found or at_ms is None:
        raise Problem(422, "before is what an earlier page gave")
    return at_ms, key


def _more(query: Mapping[str, str], after: Place) -> str:
    return _address("/", query, before=f"{after[0]}-{after[1]}")


def _address(path: str, query: Mapping[str, str], **more: str) -> str:
    kept = {name: query[name] for name in _FILTERS if query.get(name)}
    return f"{path}?{urlencode(kept | more)}"
