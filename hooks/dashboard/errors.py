"""Shows errors to the person at the browser: as a line on the page, as a page of their own, or as the login page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.by_hand.commands import CommandError
from hooks.approval_tokens import without_token
from hooks.dashboard.render import HEADERS, answer_with, is_partial, translated
from hooks.problems import Problem
from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

Handler = Callable[[Request], Awaitable[Response]]

UNEXPECTED = "Something unexpected happened; the server's log has the details"
NO_PAGE = "There is no such page"
FORMS_ONLY = "This address does not accept this request: open the page first"


def with_error_pages(handler: Handler) -> Handler:
    """Wrap a handler so that every error becomes a readable response."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (Problem, CommandError, NotDurable) as error:
            return error_response(request, error)
        except Exception as error:
            log.exception("a page failed", method=request.method, path=without_token(request.scope["path"]))
            return error_response(request, error)

    return handle


def error_response(request: Request, error: Exception) -> Response:
    """Return an error as a response to a browser."""
    problem = _problem(error)
    if problem.status == 401:
        return _to_login(request)
    detail = translated(request, problem.detail)
    if is_partial(request):
        response = answer_with(problem.status, request, "_toast.html", kind="error", text=detail)
        # The form selects a part of its page, which this response does not contain.
        target = {"hx-retarget": "#toasts", "hx-reswap": "innerHTML", "hx-reselect": ".toast"}
        response.headers.update(target)
    else:
        title = HTTPStatus(problem.status).phrase
        response = answer_with(problem.status, request, "problem.html", title=title, detail=detail)
    response.headers.update(problem.headers)
    return response


def local_path(path: str) -> str:
    """Return the path if it is on this server; else that of the gallery. Browsers read `//` and `/\\` as another host, and ignore
    tabs and line ends."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours else "/"


def wants_page(request: Request) -> bool:
    """True if a browser requests a page, not the API."""
    path = request.scope["path"]
    is_api = path == "/api" or path.startswith("/api/")
    return not is_api and "text/html" in request.headers.get("accept", "")


def unavailable(error: Exception) -> Problem:
    """Return the 503 for a database that is temporarily unavailable."""
    return Problem(503, f"The database is unavailable: {error}", headers={"retry-after": "5"})


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case CommandError():
            return Problem(error.status, str(error))
        case NotDurable():
            return unavailable(error)
        case _:
            return Problem(500, UNEXPECTED)


def _to_login(request: Request) -> Response:
    """Redirect to the login page, and from there back to the page that was open."""
    if is_partial(request):
        return Response(status_code=401, headers=HEADERS | {"hx-redirect": _login(_open_page(request))})
    if request.method != "GET":
        return RedirectResponse("/login", 303, headers=HEADERS)
    # Not request.url, which contains the Host header, and that may be anything.
    query = request.scope["query_string"].decode("latin-1")
    return RedirectResponse(_login(_joined(quote(request.scope["path"]), query)), 303, headers=HEADERS)


def _login(back: str) -> str:
    back = local_path(back)
    return "/login" if back == "/" else f"/login?next={quote(back)}"


def _open_page(request: Request) -> str:
    try:
        parts = urlsplit(request.headers.get("hx-current-url", ""))
    except ValueError:
        return "/"
    return _joined(parts.path, parts.query)


def _joined(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path
