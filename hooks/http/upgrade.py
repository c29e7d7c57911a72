"""Removes the offer to upgrade the protocol from a request.

Java's HttpClient offers `Upgrade: h2c` with every request over plain http (seen with Java 17), and `curl --http2` does too. A server
may ignore such an offer (RFC 9110, section 7.8), and the body still follows. httptools stops after the head of such a request, so
uvicorn drops the body: uvicorn issue 2722, httptools issue 124. Therefore the head is parsed a second time, as rewritten here.
"""

from __future__ import annotations

from collections.abc import Iterable

_OFFERED_BY = (b"upgrade", b"http2-settings")
"""The headers of an offer. The `Connection` header names them too."""


def head_without_offer(request_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of the same request without its offer. Header names must be in lower case."""
    lines = [request_line]
    for name, value in headers:
        if name == b"connection":
            named = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in named if token.lower() not in _OFFERED_BY)
        if name not in _OFFERED_BY:
            lines.append(name + b": " + value)
    return b"\r\n".join((*lines, b"", b""))
