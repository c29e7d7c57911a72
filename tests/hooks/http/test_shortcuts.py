"""The shortcuts past ASGI's messages leave the same bytes on the wire, and the same bodies, as ASGI's way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from hooks.http.connections import Connections
from hooks.http.protocol import Protocol
from hooks.http.shortcuts import FixedAnswer, whole_body
from tests.hooks.http.test_cut_anywhere import REQUESTS, Wire, cut, request

HEADERS = [(b"content-type", b"application/json")]
KEPT = b'{"kept":true}'
Headers = list[tuple[bytes, bytes]]


class Reader:
    """An application that reads bodies, and answers each with the same words: by the shortcuts, or ASGI's way."""

    def __init__(self, *, in_short: bool) -> None:
        self.bodies: list[bytes] = []
        self.arrived_whole = 0
        self._in_short = in_short
        self._kept = FixedAnswer(HEADERS, KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = whole_body(receive) if self._in_short else None
        if body is not None:
            self.arrived_whole += 1
        else:
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await asyncio.sleep(0)  # whatever comes next may arrive before the answer
        if self._in_short:
            await self._kept.send(send)
            return
        headers = [*HEADERS, (b"content-length", str(len(KEPT)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": KEPT})


def answered(app: ASGIApp, pieces: Iterable[bytes], own: Headers) -> tuple[bytes, int, bool]:
    """What is written on a connection to which these pieces come, the requests that count as answered, and whether it is closed.
    `own`: the server's own headers."""

    async def run() -> tuple[bytes, int, bool]:
        config = uvicorn.Config(app, ws="none", log_config=None, access_log=False, proxy_headers=False)
        config.load()
        state, wire = ServerState(), Wire()
        state.default_headers = own
        protocol = Protocol(Connections(), config=config, server_state=state, app_state={})
        protocol.connection_made(wire)
        written = await wire.deliver(protocol, pieces, lambda: None)
        is_closed = wire.is_closing()
        protocol.connection_lost(None)
        return written, state.total_requests, is_closed

    return asyncio.run(run())


OWN: list[Headers] = [
    [],
    [(b"date", b"Sun, 29 Nov 2026 22:00:00 GMT")],
    [(b"date", b"Sun, 29 Nov 2026 22:00:00 GMT"), (b"connection", b"close")],
]
POST = request("POST", "/", b"content-length: 3\r\n\r\nabc")
AWAITED = request("POST", "/", b"content-length: 3\r\n\r\nabc", b"expect: 100-continue\r\n")
LAST = request("POST", "/", b"content-length: 3\r\n\r\nabc", b"connection: close\r\n")
OLD = POST.replace(b"HTTP/1.1", b"HTTP/1.0")
LONG = request("POST", "/", b"content-length: 200000\r\n\r\n" + b"a" * 200_000)


@settings(max_examples=100)
@given(
    st.lists(REQUESTS, min_size=1, max_size=4).map(b"".join),
    st.lists(st.integers(0, 3000), max_size=6),
    st.sampled_from(OWN),
)
@example(POST + POST, [40], OWN[1])
@example(POST + POST, [], OWN[2])
@example(AWAITED + LAST + POST, [], OWN[1])
@example(OLD + POST, [], OWN[0])
@example(LONG + POST, [70_000, 150_000], OWN[1])
def test_a_request_in_short_is_a_request_asgis_way(stream: bytes, places: list[int], own: Headers) -> None:
    """Requests one behind the other, cut anywhere, with and without bodies, that expect 100, close, or are of HTTP/1.0."""
    pieces = cut(stream, places)
    short, long = Reader(in_short=True), Reader(in_short=False)
    assert answered(short, pieces, own) == answered(long, pieces, own)
    assert short.bodies == long.bodies


def test_a_callback_in_one_piece_takes_both_shortcuts() -> None:
    """Otherwise the test above would show nothing."""
    writes: list[bytes] = []

    class Counting(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            writes.append(bytes(data))

    async def run(app: Reader) -> None:
        config = uvicorn.Config(app, ws="none", log_config=None, access_log=False)
        config.load()
        protocol = Protocol(Connections(), config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(Counting())
        protocol.data_received(POST)
        await asyncio.gather(*protocol.server_state.tasks)
        protocol.connection_lost(None)

    app = Reader(in_short=True)
    asyncio.run(run(app))
    assert (app.arrived_whole, app.bodies) == (1, [b"abc"])
    assert [one.endswith(b"\r\n\r\n" + KEPT) for one in writes] == [True]


async def test_a_function_that_is_not_uvicorns_goes_asgis_way() -> None:
    """Tests, and servers of other kinds."""
    sent = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message["type"])

    assert whole_body(receive) is None
    await FixedAnswer(HEADERS, KEPT).send(send)
    assert sent == ["http.response.start", "http.response.body"]
