"""uvicorn's HTTP/1.1 over httptools, which answers a request that offers an upgrade as if it offered none.

Java's HttpClient offers `Upgrade: h2c` with every request over plain http (seen with Java 17), and `curl --http2` does too. A server
may ignore such an offer (RFC 9110, section 7.8), and the body still follows. httptools stops reading after the head of such a
request, so uvicorn drops the body: uvicorn issue 2722, httptools issue 124.
"""

from __future__ import annotations

import logging

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger("uvicorn.error")

_OFFERED_BY = (b"upgrade", b"http2-settings")
"""The headers of an offer. The header `Connection` names them as well."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def data_received(self, data: bytes) -> None:
        """Read on. A request that offers an upgrade is read a second time, without its offer."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._offers():
                head = self._head_without_offer()
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(
                    lenient_data_after_close=True
                )  # as uvicorn's own parser has
                self.data_received(head + data[upgrade.args[0] :])
        except HttpParserError:
            log.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Start the request, unless it is read a second time."""
        if not self._offers():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless it is read a second time."""
        if not self._offers():
            super().on_message_complete()

    def _offers(self) -> bool:
        """Whether the request offers an upgrade. httptools takes CONNECT for an upgrade too, which cannot be ignored."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                named = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in named if token.lower() not in _OFFERED_BY)
            if name not in _OFFERED_BY:
                lines.append(name + b": " + value)
        return b"\r\n".join((*lines, b"", b""))
