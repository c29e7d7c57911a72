"""Setting up: the addresses to register, what is still missing, and what the upstreams say when they are asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hooks.dashboard.desk import Desk
from hooks.dashboard.render import answer, is_partial, render
from hooks.problems import Problem
from hooks.session import Visitor
from hooks.topics import Look, Marks, Piece
from storage import health, queries
from storage.engine import Connection


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list. `state`: "good", "open" (not yet), "bad" (something is to be done)."""

    state: str
    name: str
    about: str = ""
    at_ms: int = 0


class Setup:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page."""
        return await self._page(request, visitor, {})

    async def _page(self, request: Request, visitor: Visitor, findings: dict[str, Any]) -> Response:
        at_ms = time.time_ns() // 1_000_000
        found = await self._desk.database.read(lambda connection: checks(connection, self._desk))
        return answer(
            request,
            "setup.html",
            **self._desk.shared(visitor, "setup"),
            hooks=self._desk.hooks,
            checks=found,
            findings=findings,
            since_ms=at_ms,
        )

    async def examine(self, request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        """What the doctor finds at one upstream. Costs nothing."""
        name = form.get("upstream", "")
        if name not in self._desk.upstreams:
            raise Problem(404, f"there is no upstream {name!r}")
        finding = await self._desk.examine(name)
        if is_partial(request):
            return answer(request, "_findings.html", finding=finding)
        return await self._page(request, visitor, {name: finding})

    def topic(self, _request: Request) -> SetupTopic:
        """What the page shows."""
        return SetupTopic(self._desk)


class SetupTopic:
    """The check list, which turns green by itself."""

    key = "setup"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def look(self, connection: Connection, known: Marks) -> Look:
        """One piece: the list."""
        found = checks(connection, self._desk)
        marks = {"checks": tuple((one.name, one.about, one.state) for one in found)}
        changed = [] if known == marks else [Piece(render=_renderer(found), changed_at_ms=_now_ms())]
        return Look(marks=marks, changed=changed)


def _renderer(found: list[Check]) -> Callable[[str], str]:
    return lambda language: render("_changed_checks.html", language, checks=found)


def checks(connection: Connection, desk: Desk) -> list[Check]:
    """What works, and what is to be done, in the order in which people do it."""
    loaded = desk.loaded()
    found = [
        Check(state="bad" if one.is_sandbox else "good", name="upstream", about=one.url) for one in desk.hooks
    ]
    found += [
        Check(state="good" if one.is_public else "open", name="public", about=one.url)
        for one in desk.hooks[:1]
    ]
    for hook in desk.hooks:
        at_ms = health.last_call_ms(connection, hook.name) or 0
        found.append(Check(state="good" if at_ms else "open", name="callback", about=hook.name, at_ms=at_ms))
    accepted = queries.was_any_accepted(connection)
    found.append(Check(state="good" if accepted else "open", name="submission"))
    error = loaded["rules"]["error"]
    found.append(
        Check(
            state="bad" if error else "good" if loaded["receivers"] else "open",
            name="rules",
            about=error or "",
        )
    )
    found.append(Check(state="good" if desk.is_locked else "open", name="token"))
    if desk.disk_warning:
        found.append(Check(state="bad", name="disk", about=desk.disk_warning))
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
