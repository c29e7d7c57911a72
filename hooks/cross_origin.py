"""Finds out which page made a browser send a request, by headers that no page can set: the check against forged requests (CSRF).

The rule is that of Go's `net/http.CrossOriginProtection` (https://words.filippo.io/csrf/), which Datasette follows too, so forms
need no token. The caller decides what a request with neither header may do: docs/security.md.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request

Sender = Literal["same origin", "other origin", "unknown"]
"""Who made the browser send a request. "same origin": one of our pages, or the user. "other origin": any other page, including
those of a sibling host or another port. "unknown": a program sent it, or a browser from before 2020."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, so any page may make a browser send them."""


def sender_of(request: Request, hosts: Collection[str]) -> Sender:
    """Return who made the browser send a request. `hosts` are our own (host and port, in lower case).

    `Sec-Fetch-Site` is the browser's own statement and decides alone, because behind a proxy `Host` may be any name. Browsers
    omit it without TLS unless the host is localhost, and programs always do; then the host of `Origin` decides.
    `Origin: null`, sent by a sandboxed frame or a file, is another origin.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return "same origin" if site in ("same-origin", "none") else "other origin"
    if not origin:
        return "unknown"
    return "same origin" if netloc_of(origin) in hosts else "other origin"


def netloc_of(url: str) -> str:
    """Return host and port of a URL in lower case; "" if it is invalid, such as `http://[`, or has no host."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
