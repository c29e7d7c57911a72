"""Errors as the one who asked can read them: a line on the page, a page of its own, or the way to log in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dispatcher.commands import CommandError
from hooks.dashboard.render import HEADERS, answer, is_partial, said
from hooks.problems import Problem
from storage.errors import NotDurable

log = structlog.get_logger("hookchain")

Handler = Callable[[Request], Awaitable[Response]]

UNEXPECTED = "something unexpected happened; the log of the server has it"
NO_PAGE = "there is no such page"
NO_WAY = "this address takes forms only, or none: go to its page first"


def telling(handler: Handler) -> Handler:
    """A handler whose errors people can read, whatever they are."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (Problem, CommandError, NotDurable) as error:
            return told(request, error)
        except Exception as error:
            log.exception("a page failed", method=request.method, path=request.scope["path"])
            return told(request, error)

    return handle


def told(request: Request, error: Exception) -> Response:
    """An error as an answer to a browser."""
    problem = _problem(error)
    if problem.status == 401:
        return _to_login(request)
    detail = said(request, problem.detail)
    if is_partial(request):
        response = answer(request, "_toast.html", code=problem.status, kind="error", text=detail)
        # What the form would have had selected of its page is not in here.
        place = {"hx-retarget": "#toasts", "hx-reswap": "innerHTML", "hx-reselect": ".toast"}
        response.headers.update(place)
    else:
        title = HTTPStatus(problem.status).phrase
        response = answer(request, "problem.html", code=problem.status, title=title, detail=detail)
    response.headers.update(problem.headers)
    return response


def local(path: str) -> str:
    """A path of ours to go to; the gallery for anything else. Browsers take `//` and `/\\` for another host, and tabs and
    line ends for nothing."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours else "/"


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, and not for the API."""
    path = request.scope["path"]
    is_api = path == "/api" or path.startswith("/api/")
    return not is_api and "text/html" in request.headers.get("accept", "")


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case CommandError():
            return Problem(error.status, str(error))
        case NotDurable():
            detail = f"the database cannot be used at the moment: {error}"
            return Problem(503, detail, headers={"retry-after": "5"})
        case _:
            return Problem(500, UNEXPECTED)


def _to_login(request: Request) -> Response:
    """To the page for logging in, and back from there to the page that somebody looked at."""
    if is_partial(request):
        return Response(status_code=401, headers=HEADERS | {"hx-redirect": _login(_looked_at(request))})
    if request.method != "GET":
        return RedirectResponse("/login", 303, headers=HEADERS)
    # Not request.url: it is put together with Host, which may be anything.
    query = request.scope["query_string"].decode("latin-1")
    return RedirectResponse(_login(_joined(quote(request.scope["path"]), query)), 303, headers=HEADERS)


def _login(back: str) -> str:
    back = local(back)
    return "/login" if back == "/" else f"/login?next={quote(back)}"


def _looked_at(request: Request) -> str:
    try:
        parts = urlsplit(request.headers.get("hx-current-url", ""))
    except ValueError:
        return "/"
    return _joined(parts.path, parts.query)


def _joined(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path
