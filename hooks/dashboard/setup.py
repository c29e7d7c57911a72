"""The set-up page: the hooks to register, what is still missing, and the results of examining the upstreams."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hooks import refusals
from hooks.dashboard.context import PageContext
from hooks.dashboard.finding import Finding
from hooks.dashboard.render import answer, is_partial, render
from hooks.problems import Problem
from hooks.topics import Changes, Marks, Piece
from storage import clock
from storage.engine import Connection
from storage.reading import health, pages

REFUSED_WITHIN_MS = 86_400_000
"""How long a refused callback stays on the checklist."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the checklist. `state` is "good", "open" (not done yet) or "bad" (needs action)."""

    state: str
    name: str
    about: str = ""
    at_ms: int = 0
    count: int = 0


class Setup:
    """Handlers of the set-up page."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the page."""
        return await self._page(request, {})

    async def _page(self, request: Request, findings: Mapping[str, Finding]) -> Response:
        at_ms = clock.now_ms()
        found = await self._context.database.read(lambda connection: checks(connection, self._context))
        return answer(
            request,
            "setup.html",
            **self._context.frame_values("setup"),
            hooks=self._context.hooks(),
            checks=found,
            findings=findings,
            since_ms=at_ms,
        )

    async def examine(self, request: Request, form: dict[str, str]) -> Response:
        """Examine an upstream as `hookchain doctor` does. Costs nothing."""
        name = form.get("upstream", "")
        if name not in self._context.upstreams:
            raise Problem(404, f"There is no upstream {name!r}")
        finding = await self._context.examine(name)
        if is_partial(request):
            return answer(request, "_findings.html", finding=finding)
        return await self._page(request, {name: finding})

    def topic(self, _request: Request) -> SetupTopic:
        """Return the topic of the page."""
        return SetupTopic(self._context)


class SetupTopic:
    """The checklist, which is updated live."""

    key = "setup"

    def __init__(self, context: PageContext) -> None:
        self._context = context

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Return the list as one piece, if it has changed."""
        found = checks(connection, self._context)
        marks = {"checks": tuple((check.name, check.about, check.state, check.count) for check in found)}
        changed = [] if known == marks else [Piece(render=_renderer(found), changed_at_ms=clock.now_ms())]
        return Changes(marks=marks, changed=changed)


def _renderer(found: list[Check]) -> Callable[[str], str]:
    return lambda language: render("_changed_checks.html", language, checks=found)


def checks(connection: Connection, context: PageContext) -> list[Check]:
    """Return what works and what is still to be done, in the order in which people do it."""
    loaded, hooks = context.get_loaded(), context.hooks()
    found = [
        Check(state="bad" if hook.is_sandbox else "good", name="upstream", about=hook.url) for hook in hooks
    ]
    found += [
        Check(state="good" if hook.is_public else "open", name="public", about=hook.url) for hook in hooks[:1]
    ]
    for hook in hooks:
        at_ms = health.last_call_ms(connection, hook.name) or 0
        found.append(Check(state="good" if at_ms else "open", name="callback", about=hook.name, at_ms=at_ms))
    found += [
        Check(
            state="bad",
            name=f"refused {refusal.why}",
            about=refusal.upstream,
            at_ms=refusal.last_at_ms,
            count=refusal.count,
        )
        for refusal in refusals.recent(connection, clock.now_ms(), REFUSED_WITHIN_MS)
    ]
    accepted = pages.was_any_accepted(connection)
    found.append(Check(state="good" if accepted else "open", name="submission"))
    error = loaded.rules.error
    found.append(
        Check(
            state="bad" if error else "good" if loaded.receivers else "open",
            name="rules",
            about=error or "",
        )
    )
    if changed := loaded.rules.after_restart:
        found.append(Check(state="open", name="restart", about="; ".join(changed)))
    found.append(Check(state="good" if context.has_token() else "open", name="token"))
    if context.disk_warning:
        found.append(Check(state="bad", name="disk", about=context.disk_warning))
    found += [Check(state="bad", name="price", about=warning) for warning in context.price_warnings]
    return found
