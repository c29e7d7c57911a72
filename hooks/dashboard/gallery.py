"""The gallery: newest chains as cards, filters over them, and the box for a new prompt."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher import commands
from hooks.dashboard.desk import Desk
from hooks.dashboard.render import HEADERS, answer, render
from hooks.dashboard.views import CardView, card_view
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.stream import Look, Marks, Piece
from midjourney.requests import Imagine
from storage import gallery
from storage.engine import Connection
from storage.gallery import Place, Wanted

PAGE = 24
LIVE = 48
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
            "more": _address("/", request, before=_written(after)) if after is not None else "",
            "budget": self._desk.budget.submissions,
        }
        if before is not None:
            return answer(request, "_cards.html", **values)
        return answer(
            request,
            "gallery.html",
            **values,
            **self._desk.shared(visitor, "gallery"),
            upstreams=list(self._desk.upstreams),
            rules=self._desk.rule_names(),
            chosen={name: request.query_params.get(name, "") for name in _FILTERS},
            is_filtered=not wanted.is_anything,
            live=_address("/live/gallery", request, since_ms=str(at_ms)),
            once=secrets.token_urlsafe(12),
        )

    def topic(self, request: Request) -> GalleryTopic:
        """What the page of these filters shows."""
        return GalleryTopic(wanted_of(request), self._desk.budget.submissions)

    async def imagine(self, request: Request, _visitor: Visitor, form: dict[str, str]) -> Response:
        """Ask for a new picture; the form's `once` makes a second click the same one."""
        prompt, upstream = form.get("prompt", "").strip(), form.get("upstream", "") or self._desk.first
        if not prompt:
            raise Problem(422, "write a prompt first")
        if upstream not in self._desk.dialects:
            raise Problem(422, f"there is no upstream {upstream!r}")
        staged = await self._desk.command(
            lambda connection: commands.submit(
                connection,
                Imagine(prompt=prompt),
                upstream=upstream,
                dialect=self._desk.dialects[upstream],
                asked_by="page",
                now_ms=time.time_ns() // 1_000_000,
                idempotency_key=form.get("once", ""),
            )
        )
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


class GalleryTopic:
    """The newest cards of a gallery."""

    def __init__(self, wanted: Wanted, budget: int) -> None:
        self._wanted = wanted
        self._budget = budget

    @property
    def key(self) -> str:
        """Its filters."""
        return f"gallery {self._wanted}"

    def look(self, connection: Connection, known: Marks) -> Look:
        """Only what has changed is asked for whole; a card that was not there is put first."""
        found = gallery.heads(connection, self._wanted, most=LIVE)
        marks = gallery.marks(connection, found)
        changed = [head for head in found if known.get(head.id) != marks[head.id]]
        cards = gallery.cards(connection, changed)
        payloads = gallery.payloads(connection, cards)
        pieces = [
            Piece(
                render=_renderer(card_view(card, payloads), self._budget),
                changed_at_ms=card.changed_at_ms,
                born_at_ms=card.created_at_ms,
                is_new=head.id not in known,
            )
            for head, card in zip(changed, cards, strict=True)
        ]
        pieces.reverse()  # the newest last, so that it comes to stand first
        if self._wanted.status:
            gone = [key for key in known if key not in marks]
            pieces += [Piece(render=_remover(key), changed_at_ms=0) for key in gone]
        return Look(marks=marks, changed=pieces)


def _renderer(view: CardView, budget: int) -> Callable[[str, bool], str]:
    return lambda language, is_new: render(
        "_changed_card.html", language, card=view, budget=budget, is_new=is_new
    )


def _remover(key: str) -> Callable[[str, bool], str]:
    return lambda _language, _is_new: f'<hx-partial hx-target="#card-{key}" hx-swap="delete"></hx-partial>'


def _page(
    connection: Connection, wanted: Wanted, *, most: int, before: Place | None
) -> tuple[list[CardView], Place | None]:
    found = gallery.page(connection, wanted, most=most, before=before)
    payloads = gallery.payloads(connection, found.cards)
    return [card_view(card, payloads) for card in found.cards], found.next


def wanted_of(request: Request) -> Wanted:
    """The filters of an address. Days are those of UTC. Raises `Problem` 422."""
    given = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    if given["status"] and given["status"] not in gallery.STATUSES:
        raise Problem(422, f"status is one of {', '.join(gallery.STATUSES)}")
    return Wanted(
        status=given["status"],
        upstream=given["upstream"],
        asked_by=given["rule"],
        text=given["text"],
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
    if not (found and age.isdigit() and len(age) < 16):
        raise Problem(422, "before is what an earlier page gave")
    return int(age), key


def _written(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def _address(path: str, request: Request, **more: str) -> str:
    kept = {name: request.query_params[name] for name in _FILTERS if request.query_params.get(name)}
    return f"{path}?{urlencode(kept | more)}"
