"""The page behind the signed link of an approval: whoever has the link may see what is asked, and decide.

A GET changes nothing, however often previews of chats and scanners of mail open the link; only the form's buttons act. The form is not
checked for the page that sent it: the link is the whole authority, nothing that a browser adds by itself is, so a page that could make a
browser send the form could send it without the browser. And this page keeps its address to itself (`no-referrer`), for which
browsers also withhold the origin of its form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dispatcher.approvals import deciding
from hooks.approval_tokens import PATH, approval_path, opens
from hooks.dashboard.approvals import approval_view, verdict_in
from hooks.dashboard.context import PageContext
from hooks.dashboard.errors import Handler, with_error_pages
from hooks.dashboard.render import HEADERS, answer_with
from hooks.login_attempts import LoginAttempts
from hooks.problems import Problem
from hooks.session import form_of
from storage import clock
from storage.reading import approval_pages
from storage.reading.approval_pages import ApprovalStory

LARGEST_FORM = 4 * 1024
"""Bytes of a form that strangers may send."""

WIDTH = "768"

UNKNOWN = "There is no such approval: the link is incomplete, or its chain was removed"

Serve = Callable[[str, str, str | None], Awaitable[Response]]
"""Returns the response with the picture of a task, by its upstream and id, with a width."""

_PRIVATE = {
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}


class ApprovalLinks:
    """Handlers of the links that `secret` signs. `serve` responds with pictures."""

    def __init__(self, context: PageContext, secret: str, serve: Serve) -> None:
        self._context = context
        self._secret = secret
        self._serve = serve
        self._attempts = LoginAttempts("links of approvals")

    def routes(self) -> list[BaseRoute]:
        """Return the routes. They need no login."""
        path = f"{PATH}{{id}}/{{token}}"
        return [
            Route(path, _private(self._show), methods=["GET"]),
            Route(path, _private(self._decide), methods=["POST"]),
            Route(f"{path}/picture", _private(self._picture), methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        return self._page(200, request, await self._story(request))

    async def _decide(self, request: Request) -> Response:
        story = await self._story(request)
        form = await form_of(request, largest=LARGEST_FORM)
        decided = await deciding.decide(
            self._context.database,
            story.approval.id,
            verdict_in(form),
            by=form.get("name", ""),
            source="link",
        )
        if decided is None or not decided.counts:
            return self._page(409, request, await self._story(request))
        return RedirectResponse(approval_path(self._secret, story.approval.id), 303)

    async def _picture(self, request: Request) -> Response:
        approval = (await self._story(request)).approval
        return await self._serve(approval.upstream, approval.task_id, WIDTH)

    def _page(self, status: int, request: Request, story: ApprovalStory) -> Response:
        here = approval_path(self._secret, story.approval.id)
        view = approval_view(story, self._context.prices)
        is_over = story.approval.is_open and clock.now_ms() >= story.approval.expires_at_ms
        return answer_with(
            status, request, "approval_link.html", one=view, here=here, is_over=is_over, is_late=status == 409
        )

    async def _story(self, request: Request) -> ApprovalStory:
        """Return the approval that the link opens. Raises `Problem` 404, and 429 after too many wrong links."""
        approval_id = request.path_params["id"]
        if not opens(self._secret, approval_id, request.path_params["token"]):
            self._attempts.note(request.client.host if request.client is not None else "")
            raise Problem(404, UNKNOWN)
        found = await self._context.database.read(
            lambda connection: approval_pages.story(connection, approval_id)
        )
        if found is None:
            raise Problem(404, UNKNOWN)
        return found


def _private(handler: Handler) -> Handler:
    """Wrap a handler so that its responses, errors too, are neither stored nor indexed, and reveal the link to nobody."""
    shown = with_error_pages(handler)

    async def handle(request: Request) -> Response:
        response = await shown(request)
        for name, value in {**HEADERS, **_PRIVATE}.items():
            if name != "content-security-policy" or name not in response.headers:
                response.headers[name] = value
        return response

    return handle
