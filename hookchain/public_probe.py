"""Probe the public address for what a stranger can see and do, with requests that carry no token and no cookie.

Probing changes nothing: requests that could act carry a body that every handler rejects, so an unprotected handler answers
with an error about the body instead of 401, 403 or 404. The requests pass through whatever is in front of the server: a
proxy, a tunnel or a platform's router.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import msgspec

from midjourney.tls import trusted

TIMEOUT_S = 10.0
MOST_BYTES = 65_536
_LOCAL = {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1"}
"""Headers of somebody who pretends to send from this machine."""

_REFUSED = frozenset({401, 403, 404, 405, 421, 429})
_TOKEN = "set HOOKCHAIN_ADMIN_TOKEN to a long random value, and make sure that no proxy adds a token or a cookie to requests"
_FILES = (
    "configure the proxy to forward requests to hookchain, and to serve no files from its working directory"
)
_NOT_OURS = "point HOOKCHAIN_PUBLIC_URL, or the proxy behind it, to the server"


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be requested. `is_public`: everybody may see it. `cure`: what to do if the answer is wrong."""

    name: str
    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    is_public: bool = False
    cure: str = _TOKEN


SURFACES = (
    Surface(name="health", path="/healthz", is_public=True, cure=_NOT_OURS),
    Surface(name="unknown hook", path="/notify/no-such-hook", method="POST"),
    Surface(name="dashboard", path="/"),
    Surface(name="dashboard, as if from this machine", path="/", headers=_LOCAL),
    Surface(name="operations page", path="/operations"),
    Surface(name="rules page", path="/rules"),
    Surface(name="set-up page, with the hooks", path="/setup"),
    Surface(name="live updates", path="/live/gallery"),
    Surface(name="tasks and prompts", path="/api/tasks"),
    Surface(name="tasks, as if from this machine", path="/api/tasks", headers=_LOCAL),
    Surface(name="clients", path="/api/clients"),
    Surface(name="tickets", path="/api/tickets"),
    Surface(name="chains", path="/api/chains"),
    Surface(name="events", path="/api/events"),
    Surface(name="submissions", path="/api/submissions"),
    Surface(name="deliveries", path="/api/deliveries"),
    Surface(name="dead letters", path="/api/dead-letters"),
    Surface(name="quarantine", path="/api/quarantine"),
    Surface(name="costs", path="/api/costs"),
    Surface(name="upstreams", path="/api/upstreams"),
    Surface(name="metrics", path="/metrics"),
    Surface(name="submit and pay", path="/api/submissions", method="POST"),
    Surface(name="submit, as if from this machine", path="/api/submissions", method="POST", headers=_LOCAL),
    Surface(name="retry dead letters", path="/api/dead-letters/retry", method="POST"),
    Surface(name="drop quarantine", path="/api/quarantine/drop", method="POST"),
    Surface(name="submit from the dashboard", path="/imagine", method="POST"),
    Surface(name="try rules", path="/rules/try", method="POST"),
    Surface(name="database file", path="/hookchain.db", cure=_FILES),
    Surface(name="environment file", path="/.env", cure=_FILES),
    Surface(name="configuration file", path="/hookchain.toml", cure=_FILES),
)


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a surface.

    `verdict` is "as it should be", "open to strangers" or "not reached"; `cure` is "" for the first.
    """

    name: str
    asked: str
    answer: str
    verdict: str
    cure: str


def probe(url: str) -> Iterator[ProbeResult]:
    """Request each surface at the public address, one after the other."""
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted()) as http:
        for surface in SURFACES:
            yield _request(http, url.rstrip("/"), surface)


def _request(http: httpx.Client, url: str, surface: Surface) -> ProbeResult:
    # Invalid JSON, so that no handler does anything.
    content = b"{" if surface.method == "POST" else None
    try:
        with http.stream(
            surface.method, url + surface.path, headers=surface.headers, content=content
        ) as answer:
            status, location = answer.status_code, answer.headers.get("location", "")
            start = b"" if surface.path.startswith("/live/") else _start_of(answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cure = f"nothing answers there: {_NOT_OURS}"
        return _result(surface, str(error) or type(error).__name__, "not reached", cure)
    if status >= 500:
        return _result(
            surface, f"HTTP {status}", "not reached", f"the proxy or the server fails: {_NOT_OURS}"
        )
    to_login = status in (302, 303) and urlsplit(location).path == "/login"
    is_right = b'"ok"' in start if surface.is_public else status in _REFUSED or to_login
    shown = f"HTTP {status}" + (f" to {urlsplit(location).path}" if location else "")
    if is_right:
        return _result(surface, shown, "as it should be", "")
    if 300 <= status < 400:
        cure = f"it redirects: {_NOT_OURS} (use https:// if it redirects there)"
        return _result(surface, shown, "not reached", cure)
    return _result(surface, shown, "not reached" if surface.is_public else "open to strangers", surface.cure)


def _start_of(answer: httpx.Response) -> bytes:
    start = b""
    for piece in answer.iter_raw(4096):
        start += piece
        if len(start) >= MOST_BYTES:
            break
    return start


def _result(surface: Surface, answer: str, verdict: str, cure: str) -> ProbeResult:
    return ProbeResult(
        name=surface.name,
        asked=f"{surface.method} {surface.path}",
        answer=answer,
        verdict=verdict,
        cure=cure,
    )


def is_loopback_url(url: str) -> bool:
    """True for a loopback address. All requests to it are local, so probing it says nothing about strangers."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
