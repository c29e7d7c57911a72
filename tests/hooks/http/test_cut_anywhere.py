"""However a stream of valid requests is cut, the answers are those of uvicorn's own protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hooks.http.connections import Connections
from hooks.http.protocol import BODY_PIECE_BYTES, Protocol

MOST_PARSED_AHEAD = 16


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it understood, after it has read all of the body, or nothing of it."""
    body = b""
    if not scope["path"].startswith("/early"):
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
    told = repr((scope["method"], scope["raw_path"], scope["headers"], body)).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


class Wire(asyncio.Transport):
    """The socket's side: keeps what is written, and hands over pieces while they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._is_closing = False
        self._is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self.written += data

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = True

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False

    async def deliver(self, protocol: Any, pieces: Iterable[bytes], after_each: Callable[[], None]) -> bytes:
        """Hand over each piece when it would be read; what was answered in the end."""
        for piece in filter(None, pieces):
            for _ in range(100):
                if not self._is_paused:
                    break
                await asyncio.sleep(0)
            if self._is_closing or self._is_paused:
                break
            protocol.data_received(piece)
            after_each()
        before = None
        while before != (before := self.written) or protocol.server_state.tasks:
            for _ in range(8):
                await asyncio.sleep(0)
        return self.written


def answers(
    make: Callable[..., Any], pieces: Iterable[bytes], after_each: Callable[[Any], None] = lambda _: None
) -> bytes:
    """What a protocol answers to a stream that comes in these pieces."""

    async def run() -> bytes:
        config = uvicorn.Config(echo, ws="none", log_config=None, access_log=False)
        config.load()
        wire = Wire()
        protocol = make(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(wire)
        answered = await wire.deliver(protocol, pieces, lambda: after_each(protocol))
        protocol.connection_lost(None)
        return answered

    return asyncio.run(run())


def ours(pieces: Iterable[bytes]) -> bytes:
    """What we answer. No more requests are parsed ahead of their turn than may be."""

    def check(protocol: Any) -> None:
        assert len(protocol.pipeline) <= MOST_PARSED_AHEAD

    return answers(lambda **how: Protocol(Connections(), **how), pieces, check)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream in pieces."""
    at = [0, *sorted({min(place, len(stream)) for place in places}), len(stream)]
    return [stream[start:end] for start, end in pairwise(at)]


def request(method: str, path: str, rest: bytes, lines: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n".encode() + lines + rest


def chunked(body: bytes, size: int, extension: bytes, trailer: bytes) -> bytes:
    """A body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    told = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return b"transfer-encoding: chunked\r\n\r\n" + told + b"0\r\n" + trailer + b"\r\n"


BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"]).map(lambda one: one * 60),
    st.binary(min_size=1, max_size=8).map(lambda one: one * 200),
)
RESTS = st.one_of(
    st.just(b"\r\n"),
    BODIES.map(lambda body: b"content-length: %d\r\n\r\n%s" % (len(body), body)),
    st.builds(
        chunked,
        BODIES,
        st.integers(1, 300),
        st.sampled_from([b"", b";a=b"]),
        st.sampled_from([b"", b"t: 1\r\n"]),
    ),
)
REQUESTS = st.builds(
    request,
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.sampled_from(["/", "/early", "/a%20b?c=d"]),
    RESTS,
    st.sampled_from([b"", b"x: y\r\n", b"expect: 100-continue\r\n", b"x: " + b"z" * 900 + b"\r\n"]),
)
STREAMS = st.lists(REQUESTS, min_size=1, max_size=5).map(b"".join)

SHORTEST = b"GET / HTTP/1.1\r\n\r\n"


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 3000), max_size=12))
@example(request("POST", "/", b"content-length: 1\r\n\r\nx") + SHORTEST * 100, [40, 300])
@example(request("POST", "/early", b"content-length: 1\r\n\r\nx") + SHORTEST * 100, [58])
def test_a_stream_that_is_cut_anywhere_is_answered_as_by_uvicorn(stream: bytes, places: list[int]) -> None:
    """One to five requests with and without bodies, in one piece and in up to thirteen."""
    expected = answers(HttpToolsProtocol, [stream])
    assert ours([stream]) == expected
    assert ours(cut(stream, places)) == expected


def test_a_stream_that_comes_byte_by_byte_is_answered_as_by_uvicorn() -> None:
    """Bodies by length and by chunks, with an extension and a trailer, and the empty lines that end heads inside of them."""
    stream = b"".join(
        [
            request("POST", "/", b"content-length: 8\r\n\r\n\r\n\r\n\r\n\r\n"),
            request("POST", "/", chunked(b"\r\n\r\nabc", 2, b";a=b", b"t: 1\r\n")),
            b"\r\n",
            request("GET", "/early", b"content-length: 4\r\n\r\nGET "),
            request("GET", "/", b"connection: close\r\n\r\n"),
        ]
    )
    expected = answers(HttpToolsProtocol, [stream])
    assert expected.count(b"HTTP/1.1 200") == 4
    assert ours(bytes([one]) for one in stream) == expected
    for place in range(len(stream)):
        assert ours(cut(stream, [place])) == expected


def test_half_a_head_behind_a_large_body_is_no_large_head() -> None:
    """The body is nearly as large as a head may be, and comes in one piece with the half."""
    body, lines = b"a" * 31_000, b"x: " + b"b" * 20_000 + b"\r\n"
    stream = request("POST", "/", b"content-length: 31000\r\n\r\n" + body) + request(
        "GET", "/", b"\r\n", lines
    )
    expected = answers(HttpToolsProtocol, [stream])
    assert expected.count(b"HTTP/1.1 200") == 2
    for place in (40, 31_000, 31_200, 40_000, 50_000):
        assert ours(cut(stream, [place, 51_000])) == expected
        assert ours(cut(stream, [100, place])) == expected


def test_no_more_than_16_requests_hide_in_one_piece_of_a_body() -> None:
    """That many of the shortest fit into the smallest piece that is parsed at once."""
    assert BODY_PIECE_BYTES // len(SHORTEST) < MOST_PARSED_AHEAD


@settings(max_examples=200)
@given(
    st.lists(
        REQUESTS | st.binary(max_size=60) | st.sampled_from([b"\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"])
    ).map(b"".join),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_any_bytes_are_answered_or_refused(stream: bytes, places: list[int]) -> None:
    """Without an exception, with whole answers only, and with nothing behind a refusal."""
    statuses = re.findall(
        rb"HTTP/1\.1 (\d+) ", re.sub(rb"\r\n\r\n\(.*?\)(?=HTTP/1|$)", b"\r\n\r\n", ours(cut(stream, places)))
    )
    assert set(statuses) <= {b"100", b"200", b"400"}
    assert b"400" not in statuses[:-1]


def test_a_mistake_does_not_take_the_answer_of_the_request_before() -> None:
    """uvicorn answers 400 to both."""
    stream = request("POST", "/", b"content-length: 1\r\n\r\nx") + b"nonsense\r\n\r\n"
    for place in range(len(stream)):
        answered = ours(cut(stream, [place]))
        assert re.findall(rb"HTTP/1\.1 (\d+) ", answered) == [b"200", b"400"], place
