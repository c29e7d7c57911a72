"""Renders templates as responses with the headers that all pages have."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hooks.dashboard.i18n import gettext_of, language_of
from hooks.images.proxy import image_path

HERE = Path(__file__).parent

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "vary": "accept-language, cookie",
}
"""Headers of every page: nothing is loaded from elsewhere, only our own script files run, and nobody may frame the page."""

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def statics() -> dict[str, tuple[bytes, str, str]]:
    """Return the static files of the pages by name: bytes, media type, digest."""
    paths = [path for path in sorted((HERE / "static").rglob("*")) if path.suffix in _TYPES]
    files = {}
    for path in paths:
        data = path.read_bytes()
        name = path.relative_to(HERE / "static").as_posix()
        files[name] = (data, _TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:12])
    return files


def static_path(name: str) -> str:
    """Return the address of a static file, which changes with the file's content."""
    return f"/static/{name}?v={statics()[name][2]}"


async def serve_static(request: Request) -> Response:
    """Respond with a static file, to everybody: the login page needs them too."""
    file = statics().get(request.path_params["name"])
    if file is None:
        return Response(status_code=404)
    data, media_type, digest = file
    # Another digest means another release's file: during a deployment both releases serve requests.
    is_current = request.query_params.get("v") == digest
    caching = "public, max-age=31536000, immutable" if is_current else "no-cache"
    headers = {"cache-control": caching, "x-content-type-options": "nosniff"}
    return Response(data, media_type=media_type, headers=headers)


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "iso": iso,
        "clock": clock,
        "path": path_part,
        "query": urlencode,
        "amount": amount,
        "duration": duration,
        "last_line": last_line,
    }
    environment.globals |= {
        "_": gettext_of(language),
        "language": language,
        "static": static_path,
        "image_path": image_path,
    }
    return environment


def last_line(error: str) -> str:
    """Return the last line of a traceback, without the names of our own exceptions, which say nothing to people."""
    line = (error.strip().splitlines() or [""])[-1]
    return line.partition(": ")[2] if line.startswith("dispatcher.plugins.errors.") else line


def path_part(text: str) -> str:
    """Quote a value as one segment of a path."""
    return quote(text, safe="")


def amount(value: float) -> str:
    """Format a number of submissions, or an amount of money: 12, 0.5, 1,000."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def duration(ms: int) -> str:
    """Format a time span: 840 ms, 1.2 s, 5 min, 2.5 h."""
    for size, unit in ((3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= size:
            return f"{ms / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{ms} ms"


def iso(at_ms: int) -> str:
    """Format epoch milliseconds as RFC 3339, for machines."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at_ms: int) -> str:
    """Format epoch milliseconds for people; a script rewrites it in the reader's own time zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def render(template: str, language: str, /, **values: object) -> str:
    """Render a template as text."""
    return _environment(language).get_template(template).render(**values)


def language(request: Request) -> str:
    """Return the language of the request's sender."""
    return language_of(request.headers.get("accept-language", ""))


def translated(request: Request, text: str) -> str:
    """Return a text in the language of the request's sender; in English if there is no translation."""
    return gettext_of(language(request))(text)


def is_partial(request: Request) -> bool:
    """True if htmx requests a part of a page."""
    return request.headers.get("hx-request") == "true" and "hx-boosted" not in request.headers


def answer(request: Request, template: str, /, **values: object) -> HTMLResponse:
    """Render a page, or a part of one, as a 200 response."""
    return answer_with(200, request, template, **values)


def answer_with(code: int, request: Request, template: str, /, **values: object) -> HTMLResponse:
    """Render a page, or a part of one, as a response with status `code`."""
    text = render(template, language(request), **values)
    return HTMLResponse(text, status_code=code, headers=HEADERS)
