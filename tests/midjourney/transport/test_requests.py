"""What a request looks like on the wire, and what happens while a long one is written."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from midjourney.slices import in_slices
from midjourney.steps import Steps, at_once
from midjourney.tls import trusted
from midjourney.transport.connection import PIECE_BYTES
from tests.midjourney.transport.conftest import Make
from tests.support.answering import OK, Talk, answering, ask, serving

TARGETS = [
    "",
    "/",
    "?a=1",
    "/a?b=c&d=%20%2F+e&",
    "/mj/task/1%2F2/fetch",
    "/a%zz%",
    "/ü/日本?q=ß#fragment",
    "/a b?c d",
    "//double//slash/../up/./here",
    "/a;b=c,d:e@f!$&'()*+=~_-.",
    '/"<>\\^`{|}',
    "/?a=[1]&b={2}&c=\"'",
]


def parsed(request: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """The request line, the headers in order of their names, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    return (
        line,
        sorted((name.lower(), value.strip()) for name, _, value in (one.partition(b":") for one in headers)),
        body,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("target", TARGETS)
async def test_a_request_is_what_httpx_sends(make: Make, target: str, host: str) -> None:
    """But for the case and the order of headers: method, path, query, host with port, length, body."""
    ours, other = make(), in_slices(httpx.AsyncHTTPTransport(verify=trusted()))
    async with serving(answering(OK), host=host) as server:
        headers = {"x-empty": "", "X-Case": "a", "authorization": "Bearer k"}
        for transport in (ours, other):
            for method, content in (("POST", b'{"a":1}'), ("POST", b""), ("GET", b"")):
                request = httpx.Request(method, server.url + target, content=content, headers=headers)
                response = await transport.handle_async_request(request)
                await response.aread()
            await transport.aclose()
    assert [parsed(one) for one in server.requests[:3]] == [parsed(one) for one in server.requests[3:]]


@pytest.mark.parametrize(
    "headers",
    [
        {"a": "b\r\nc: d"},
        {"a": "b\nc"},
        {"a": "\x00"},
        {"a\r\nb": "c"},
        {"content-length": "1"},
        {"transfer-encoding": "chunked"},
    ],
)
async def test_no_header_ends_its_line(make: Make, headers: dict[str, str]) -> None:
    """Nor does it lie about the length: the rest would be another request."""
    async with serving(answering(OK)) as server:
        request = httpx.Request("POST", server.url, headers=headers, content=b"{}")
        with pytest.raises(httpx.LocalProtocolError):
            await make().handle_async_request(request)
        assert server.connected == 0


async def test_a_long_request_waits_for_its_reader(make: Make) -> None:
    """It has been written once the server has read nearly all of it, and memory holds no second copy in a buffer."""
    content = bytes(range(256)) * 40_000
    reads, written = asyncio.Event(), asyncio.Event()
    steps = Steps(leaving=at_once, written=written.set, received=lambda _: None)

    async def script(talk: Talk) -> None:
        await reads.wait()
        await talk.request()
        await talk.say(OK)
        await talk.request()
        await talk.say(OK)

    transport = make()
    async with serving(script) as server:
        asking = asyncio.create_task(ask(transport, server.url, method="POST", content=content, trace=steps))
        while not server.connected:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not written.is_set()
        reads.set()
        assert (await asking)[2] == b"ok"
        assert written.is_set()
        assert parsed(server.requests[0])[2] == content
        assert (await ask(transport, server.url))[2] == b"ok"
        assert server.connected == 1


async def test_a_request_that_nobody_reads_ends_in_time(make: Make) -> None:
    """It may have arrived in part."""
    stop = asyncio.Event()

    async def script(_talk: Talk) -> None:
        await stop.wait()

    async with serving(script) as server:
        with pytest.raises(httpx.WriteTimeout):
            await ask(make(), server.url, method="POST", content=b"x" * 20_000_000, timeout={"write": 0.2})
        stop.set()


async def test_an_answer_can_come_before_the_request_has_left(make: Make) -> None:
    """The rest stays here, the answer counts, and the connection ends."""
    transport = make()

    async def script(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await talk.until_it_ends()

    written: list[bool] = []
    steps = Steps(leaving=at_once, written=lambda: written.append(True), received=lambda _: None)
    async with serving(script) as server:
        for number in range(2):
            answer = await ask(transport, server.url, method="POST", content=b"x" * 20_000_000, trace=steps)
            assert answer[::2] == (413, b"no")
            assert (server.connected, len(written)) == (number + 1, number + 1)


@pytest.mark.parametrize("size", [PIECE_BYTES - 200, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_a_request_of_any_length_is_whole(make: Make, size: int) -> None:
    """In one piece or several."""
    transport = make()
    async with serving(answering(OK)) as server:
        for _ in range(2):
            assert (await ask(transport, server.url, method="POST", content=b"x" * size))[2] == b"ok"
        assert [len(parsed(one)[2]) for one in server.requests] == [size, size]
        assert server.connected == 1
        await transport.aclose()


async def test_reading_has_httpx_s_time_out(transport: httpx.AsyncBaseTransport) -> None:
    """For requests without `Steps`, whose sender has no clock."""
    async with serving(Talk.until_it_ends) as server:
        with pytest.raises(httpx.ReadTimeout):
            await ask(transport, server.url, timeout={"read": 0.1})
