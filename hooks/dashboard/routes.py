"""All screens under their paths, and who may see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hooks.api.pages import row_id
from hooks.dashboard.chain import Chains
from hooks.dashboard.desk import Desk
from hooks.dashboard.errors import Handler, local, telling
from hooks.dashboard.gallery import Gallery
from hooks.dashboard.operations import Operations
from hooks.dashboard.render import HEADERS, answer, language, serve_static
from hooks.dashboard.rules import Rules
from hooks.dashboard.setup import Setup
from hooks.dashboard.timeline import Timeline
from hooks.numbers import number
from hooks.session import LARGEST_LOGIN, Sessions, Visitor, check_word, form_of
from hooks.stream import Stream
from hooks.topics import Topic

Show = Callable[[Request, Visitor], Awaitable[Response]]
Do = Callable[[Request, Visitor, dict[str, str]], Awaitable[Response]]


class Dashboard:
    """The pages. `stream` tells them what changes; stop it before the server stops."""

    def __init__(self, desk: Desk, sessions: Sessions, stream: Stream) -> None:
        self._sessions = sessions
        self._stream = stream
        self._gallery = Gallery(desk)
        self._chains = Chains(desk)
        self._timeline = Timeline(desk)
        self._operations = Operations(desk)
        self._rules = Rules(desk)
        self._setup = Setup(desk)

    def routes(self) -> list[BaseRoute]:
        """All paths that people use."""
        task = "{upstream}/{task_id:path}"
        shows: list[tuple[str, Show]] = [
            ("/", self._gallery.show),
            (f"/chains/of/{task}", self._chains.show_of),
            ("/chains/{id}", self._chains.show),
            (f"/panel/{task}", self._chains.panel),
            (f"/tasks/{task}", self._timeline.show),
            ("/operations", self._operations.show),
            ("/rules", self._rules.show),
            ("/setup", self._setup.show),
            ("/live/gallery", self._live(self._gallery.topic)),
            ("/live/chain/{id}", self._live(self._chains.topic)),
            (f"/live/task/{task}", self._live(self._timeline.topic)),
            ("/live/operations", self._live(self._operations.topic)),
            ("/live/setup", self._live(self._setup.topic)),
        ]
        does: list[tuple[str, Do]] = [
            ("/imagine", self._gallery.imagine),
            (f"/press/{task}", self._chains.press),
            (f"/modal/{task}", self._chains.modal),
            ("/operations/upstreams/{name}/pause", self._operations.pause),
            ("/operations/upstreams/{name}/resume", self._operations.resume),
            ("/operations/uncertain/{id}", self._operations.settle),
            ("/operations/refused/{id}", self._operations.release),
            ("/operations/letters", self._operations.all_letters),
            ("/operations/letters/{id}", self._operations.letter),
            ("/operations/quarantine", self._operations.all_bodies),
            ("/operations/quarantine/{id}", _of_row(self._operations.body)),
            ("/rules/try", self._rules.try_out),
            ("/setup/examine", self._setup.examine),
            ("/logout", self._log_out),
        ]
        return [
            Route("/static/{name:path}", serve_static),
            Route("/login", telling(self._show_login), methods=["GET"]),
            Route("/login", telling(self._log_in), methods=["POST"]),
            *(Route(path, self._shown(show), methods=["GET"]) for path, show in shows),
            *(Route(path, self._done(do), methods=["POST"]) for path, do in does),
        ]

    def guard(self, handler: Handler) -> Handler:
        """A handler for those alone who may see the pages."""
        return self._shown(lambda request, _visitor: handler(request))

    def _shown(self, show: Show) -> Handler:
        async def handle(request: Request) -> Response:
            return await show(request, self._sessions.visitor(request))

        return telling(handle)

    def _done(self, do: Do) -> Handler:
        async def handle(request: Request) -> Response:
            self._sessions.check_site(request)
            visitor = self._sessions.visitor(request)
            form = await form_of(request)
            check_word(request, form, visitor)
            return await do(request, visitor, form)

        return telling(handle)

    def _live(self, topic_of: Callable[[Request], Topic]) -> Show:
        async def stream(request: Request, _visitor: Visitor) -> Response:
            known = request.headers.get("last-event-id") or request.query_params.get("since_ms", "0")
            messages = self._stream.messages(topic_of(request), language(request), number(known) or 0)
            # Starlette routes HEAD as GET, and would send an hour of messages, which the server throws away.
            body = iter(()) if request.method == "HEAD" else messages
            headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
            return StreamingResponse(body, media_type="text/event-stream", headers=headers)

        return stream

    async def _show_login(self, request: Request) -> Response:
        if not self._sessions.needs_login:
            return RedirectResponse("/", 303, headers=HEADERS)
        return answer(request, "login.html", next=local(request.query_params.get("next", "")), wrong=False)

    async def _log_in(self, request: Request) -> Response:
        """The one form that strangers may send: a small one, and none at all while there is no token."""
        if not self._sessions.needs_login:
            return RedirectResponse("/", 303, headers=HEADERS)
        self._sessions.check_site(request)
        form = await form_of(request, largest=LARGEST_LOGIN)
        back = local(form.get("next", ""))
        response = RedirectResponse(back, 303, headers=HEADERS)
        if self._sessions.log_in(request, form.get("token", ""), response):
            return response
        return answer(request, "login.html", code=401, next=back, wrong=True)

    async def _log_out(self, _request: Request, _visitor: Visitor, _form: dict[str, str]) -> Response:
        response = RedirectResponse("/login", 303, headers=HEADERS)
        self._sessions.log_out(response)
        return response


def _of_row(do: Do) -> Do:
    """A handler for a row's number in the path: one that a database can have."""

    async def handle(request: Request, visitor: Visitor, form: dict[str, str]) -> Response:
        request.path_params["id"] = row_id(request.path_params["id"])
        return await do(request, visitor, form)

    return handle
