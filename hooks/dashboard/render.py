"""Templates made into answers, with the headers that all pages have."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hooks.dashboard.words import gettext_of, language_of
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
"""Of every page. Nothing comes from elsewhere, nothing is run that is not a file of ours, nobody frames it."""

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def statics() -> dict[str, tuple[bytes, str, str]]:
    """The files that pages need, by name: bytes, media type, digest."""
    files = [one for one in sorted((HERE / "static").rglob("*")) if one.suffix in _TYPES]
    found = {}
    for file in files:
        data = file.read_bytes()
        name = file.relative_to(HERE / "static").as_posix()
        found[name] = (data, _TYPES[file.suffix], hashlib.sha256(data).hexdigest()[:12])
    return found


def static_path(name: str) -> str:
    """The address of a file, which is another one after every change of it."""
    return f"/static/{name}?v={statics()[name][2]}"


async def serve_static(request: Request) -> Response:
    """One of them; to everybody: the page for logging in needs them."""
    found = statics().get(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    data, media_type, digest = found
    # Of another digest it is another release's: during a deployment both serve.
    is_that = request.query_params.get("v") == digest
    kept = "public, max-age=31536000, immutable" if is_that else "no-cache"
    headers = {"cache-control": kept, "x-content-type-options": "nosniff"}
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
    environment.filters |= {"iso": iso, "clock": clock, "path": path_part, "query": urlencode}
    environment.globals |= {
        "_": gettext_of(language),
        "language": language,
        "static": static_path,
        "image_path": image_path,
    }
    return environment


def path_part(text: str) -> str:
    """A value as one part of a path."""
    return quote(text, safe="")


def iso(at_ms: int) -> str:
    """Epoch milliseconds as RFC 3339, for machines."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at_ms: int) -> str:
    """Epoch milliseconds for people; the browser writes it anew in their own time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def render(template: str, language: str, **values: Any) -> str:
    """A template as text."""
    return _environment(language).get_template(template).render(**values)


def language(request: Request) -> str:
    """The language of the one who asks."""
    return language_of(request.headers.get("accept-language", ""))


def said(request: Request, text: str) -> str:
    """A sentence in the language of the one who asks, as far as it is known there."""
    return gettext_of(language(request))(text)


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true" and "hx-boosted" not in request.headers


def answer(request: Request, template: str, *, code: int = 200, **values: Any) -> HTMLResponse:
    """A page or a part of one."""
    text = render(template, language(request), **values)
    return HTMLResponse(text, status_code=code, headers=HEADERS)
