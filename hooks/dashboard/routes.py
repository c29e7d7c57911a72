"""The paths of all pages, and who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hooks.api.paging import row_id
from hooks.dashboard.approvals import Approvals
from hooks.dashboard.chain import Chains
from hooks.dashboard.clients import Clients
from hooks.dashboard.context import PageContext
from hooks.dashboard.errors import Handler, local_path, with_error_pages
from hooks.dashboard.gallery import Gallery
from hooks.dashboard.operations import Operations
from hooks.dashboard.render import HEADERS, answer, answer_with, language, serve_static
from hooks.dashboard.rules import Rules
from hooks.dashboard.setup import Setup
from hooks.dashboard.tickets import Tickets
from hooks.dashboard.timeline import Timeline
from hooks.numbers import number
from hooks.problems import Problem
from hooks.session import LARGEST_LOGIN, Sessions, form_of
from hooks.stream import Stream
from hooks.topics import Topic
from storage.errors import NotDurable

FormHandler = Callable[[Request, dict[str, str]], Awaitable[Response]]

RETRY_S = 1.0
"""Time between two session checks of an open page while the database is unavailable."""


class Dashboard:
    """The pages. `stream` updates them live; stop it before the server stops."""

    def __init__(self, context: PageContext, sessions: Sessions, stream: Stream) -> None:
        self._sessions = sessions
        self._stream = stream
        self._gallery = Gallery(context)
        self._chains = Chains(context)
        self._timeline = Timeline(context)
        self._clients = Clients(context)
        self._tickets = Tickets(context)
        self._operations = Operations(context)
        self._approvals = Approvals(context)
        self._rules = Rules(context)
        self._setup = Setup(context)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of all pages."""
        task = "{upstream}/{task_id:path}"
        shows: list[tuple[str, Handler]] = [
            ("/", self._gallery.show),
            (f"/chains/of/{task}", self._chains.show_for_task),
            ("/chains/{id}", self._chains.show),
            (f"/panel/{task}", self._chains.panel),
            (f"/tasks/{task}", self._timeline.show),
            ("/clients", self._clients.show),
            ("/clients/{name}", self._clients.show_one),
            ("/tickets/{id}", self._tickets.show),
            ("/operations", self._operations.show),
            ("/rules", self._rules.show),
            ("/setup", self._setup.show),
            ("/live/gallery", self._live(self._gallery.topic)),
            ("/live/chain/{id}", self._live(self._chains.topic)),
            (f"/live/task/{task}", self._live(self._timeline.topic)),
            ("/live/clients", self._live(self._clients.topic)),
            ("/live/clients/{name}", self._live(self._clients.topic_of_one)),
            ("/live/tickets/{id}", self._live(self._tickets.topic)),
            ("/live/operations", self._live(self._operations.topic)),
            ("/live/setup", self._live(self._setup.topic)),
        ]
        does: list[tuple[str, FormHandler]] = [
            ("/imagine", self._gallery.imagine),
            (f"/press/{task}", self._chains.press),
            (f"/modal/{task}", self._chains.modal),
            ("/tickets/{id}/letters/{number}", self._tickets.letter),
            ("/operations/upstreams/{name}/pause", self._operations.pause),
            ("/operations/upstreams/{name}/resume", self._operations.resume),
            ("/operations/uncertain/{id}", self._operations.settle),
            ("/operations/refused/{id}", self._operations.release),
            ("/operations/waiting/{id}", self._operations.waiting),
            ("/approvals/{id}", self._approvals.decide),
            ("/operations/letters", self._operations.all_letters),
            ("/operations/letters/{id}", self._operations.letter),
            ("/operations/quarantine", self._operations.all_bodies),
            ("/operations/quarantine/{id}", _with_row_id(self._operations.body)),
            ("/rules/try", self._rules.try_out),
            ("/setup/examine", self._setup.examine),
            ("/logout", self._log_out),
        ]
        return [
            Route("/static/{name:path}", serve_static),
            Route("/login", with_error_pages(self._show_login), methods=["GET"]),
            Route("/login", with_error_pages(self._log_in), methods=["POST"]),
            *(Route(path, self.guard(show), methods=["GET"]) for path, show in shows),
            *(Route(path, self._form(do), methods=["POST"]) for path, do in does),
        ]

    def guard(self, handler: Handler) -> Handler:
        """Wrap a handler so that only people with access to the pages reach it."""

        async def handle(request: Request) -> Response:
            await self._sessions.check(request)
            return await handler(request)

        return with_error_pages(handle)

    def _form(self, do: FormHandler) -> Handler:
        async def handle(request: Request) -> Response:
            return await do(request, await form_of(request))

        return self.guard(handle)

    def _live(self, topic_of: Callable[[Request], Topic]) -> Handler:
        async def handle(request: Request) -> Response:
            since = request.headers.get("last-event-id") or request.query_params.get("since_ms", "0")
            stream = self._stream.messages(topic_of(request), language(request), number(since) or 0)
            messages = self._while_allowed(request, stream)
            # Starlette routes HEAD like GET, and would produce messages for an hour, which the server would discard.
            body = iter(()) if request.method == "HEAD" else messages
            headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
            return StreamingResponse(body, media_type="text/event-stream", headers=headers)

        return handle

    async def _while_allowed(
        self, request: Request, messages: AsyncGenerator[bytes]
    ) -> AsyncGenerator[bytes]:
        """Pass on a stream until its session ends: at the first message, or keep-alive, after the person has logged out."""
        async with aclosing(messages):
            async for message in messages:
                if not await self._is_still_allowed(request):
                    return
                yield message

    async def _is_still_allowed(self, request: Request) -> bool:
        """Check the session again. While the database is unavailable, nothing is sent, and the check is repeated."""
        while True:
            try:
                await self._sessions.check(request)
            except Problem:
                return False
            except NotDurable:
                await asyncio.sleep(RETRY_S)
            else:
                return True

    async def _show_login(self, request: Request) -> Response:
        if not self._sessions.needs_login:
            return RedirectResponse("/", 303, headers=HEADERS)
        if code := request.query_params.get("once"):
            # Mail scanners and chat previews open links, so only the page's button uses up the link.
            return answer(request, "login_link.html", once=code)
        back = local_path(request.query_params.get("next", ""))
        return answer(request, "login.html", next=back, wrong=False, old=False)

    async def _log_in(self, request: Request) -> Response:
        """Log in by the token or by the code of a link. This is the only form that strangers may send, so it must be small; if no
        token is set, it is not read at all."""
        if not self._sessions.needs_login:
            return RedirectResponse("/", 303, headers=HEADERS)
        self._sessions.check_sender(request)
        form = await form_of(request, largest=LARGEST_LOGIN)
        back, code = local_path(form.get("next", "")), form.get("once", "")
        response = RedirectResponse(back, 303, headers=HEADERS)
        if code:
            is_logged_in = await self._sessions.log_in_by_link(request, code, response)
        else:
            is_logged_in = self._sessions.log_in(request, form.get("token", ""), response)
        if is_logged_in:
            return response
        return answer_with(401, request, "login.html", next=back, wrong=not code, old=bool(code))

    async def _log_out(self, request: Request, _form: dict[str, str]) -> Response:
        response = RedirectResponse("/login", 303, headers=HEADERS)
        await self._sessions.log_out(request, response)
        return response


def _with_row_id(do: FormHandler) -> FormHandler:
    """Wrap a handler so that `id` in its path is a valid row number. Raises `Problem` 404."""

    async def handle(request: Request, form: dict[str, str]) -> Response:
        request.path_params["id"] = row_id(request.path_params["id"])
        return await do(request, form)

    return handle
