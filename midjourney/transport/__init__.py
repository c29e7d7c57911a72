"""Requests to upstreams over HTTP/1.1: asyncio's protocols and httptools below httpx's interface.

httpx's own transport takes 1.1 ms of processor for a request, and more with each connection: see decision 37.
"""

from __future__ import annotations

import socket

import httpx

from midjourney.slices import in_slices
from midjourney.tls import trusted

_AT_ONCE = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""httpcore writes the head and the body separately: without TCP_NODELAY the second may wait 40 ms for an acknowledgement."""


def outgoing(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    """A transport that is read in slices and tells `Steps` what it does; httpx's own where httptools is not installed.

    It ignores proxy variables, because a proxy might see the key.
    """
    try:
        from midjourney.transport.fast import Transport
    except ImportError:
        return in_slices(httpx.AsyncHTTPTransport(limits=limits, socket_options=_AT_ONCE, verify=trusted()))
    return Transport(limits, trusted())
