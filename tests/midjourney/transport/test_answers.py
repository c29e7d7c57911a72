"""What a server can answer, and what becomes of its connection. httpx's own transport reads the same."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.midjourney.transport.conftest import Make
from tests.support.answering import OK, Talk, answering, ask, ending, serving

LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = LINE + b"transfer-encoding: chunked\r\n\r\n"

READ = {
    "length": (OK, 200, b"ok", True),
    "nothing": (LINE + b"content-length: 0\r\n\r\n", 200, b"", True),
    "chunks": (CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n", 200, b"ok", True),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nx-a: not a header\r\n\r\n", 200, b"ok", True),
    "spaces after a chunk's size": (CHUNKED + b"2 \r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b"", True),
    "connection: close": (LINE + b"connection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "early answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-a: 1\r\n\r\n" + OK, 200, b"ok", True),
    "an early answer that closes": (b"HTTP/1.1 103 x\r\nconnection: close\r\n\r\n" + OK, 200, b"ok", True),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", True),
    "an unknown status": (b"HTTP/1.1 999 ?\r\ncontent-length: 2\r\n\r\nok", 999, b"ok", True),
    "lines that end in LF": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, b"ok", True),
    "length beside chunks": (LINE + b"content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", None),
    "an offer to upgrade": (LINE + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", True),
}  # fmt: skip


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
@pytest.mark.parametrize(("answer", "status", "body", "is_kept"), READ.values(), ids=READ)
async def test_an_answer_is_read(
    transport: httpx.AsyncBaseTransport,
    answer: bytes,
    status: int,
    body: bytes,
    is_kept: bool | None,
    pieces: str,
) -> None:
    """However it is cut. The connection is used again if the server keeps it."""
    cut = [answer] if pieces == "whole" else [answer[at : at + 1] for at in range(len(answer))]
    async with serving(answering(*cut)) as server:
        for _ in range(3):
            assert (await ask(transport, server.url))[::2] == (status, body)
        assert is_kept is None or server.connected == (1 if is_kept else 3)
        await transport.aclose()


async def test_trailers_are_no_headers(transport: httpx.AsyncBaseTransport) -> None:
    """They come when the headers have been believed."""
    async with serving(answering(CHUNKED + b"2\r\nok\r\n0\r\nx-a: late\r\n\r\n")) as server:
        _, headers, body = await ask(transport, server.url)
        await transport.aclose()
    assert body == b"ok"
    assert "x-a" not in headers


async def test_http_1_0_may_keep_a_connection(make: Make) -> None:
    """If the server says so. (httpx's own closes it.)"""
    answer = b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok"
    transport = make()
    async with serving(answering(answer)) as server:
        for _ in range(3):
            assert (await ask(transport, server.url))[2] == b"ok"
        assert server.connected == 1
        await transport.aclose()


async def test_an_answer_can_end_with_its_connection(transport: httpx.AsyncBaseTransport) -> None:
    """If it has no length."""
    async with serving(ending(LINE + b"\r\n", b"ok", b"!")) as server:
        assert (await ask(transport, server.url))[2] == b"ok!"


async def test_headers_are_read_as_httpx_reads_them(transport: httpx.AsyncBaseTransport) -> None:
    """Folded, repeated, empty, with bytes that are no ASCII, and with spaces around them."""
    lines = b"x-a: 1\r\n 2\r\nX-B: \xe4\xff\r\nx-c:\r\nx-d: \t 3 \t\r\nx-e: 1\r\nx-e: 2\r\nx-f: \x01\r\n"
    async with serving(answering(LINE + lines + b"content-length: 0\r\n\r\n")) as server:
        _, headers, _ = await ask(transport, server.url)
        await transport.aclose()
    assert {name: headers[name] for name in sorted(headers) if name.startswith("x-")} == {
        "x-a": "1 2",
        "x-b": "äÿ",
        "x-c": "",
        "x-d": "3",
        "x-e": "1, 2",
        "x-f": "\x01",
    }


async def test_the_answer_to_head_has_no_body(make: Make) -> None:
    """Whatever its headers announce."""
    transport = make()
    async with serving(answering(LINE + b"content-length: 10\r\n\r\n")) as server:
        for _ in range(2):
            assert (await ask(transport, server.url, method="HEAD"))[::2] == (200, b"")
        await transport.aclose()


BROKEN = {
    "nothing": b"",
    "half a head": LINE + b"content-len",
    "half a body": LINE + b"content-length: 3\r\n\r\nok",
    "half a chunk": CHUNKED + b"3\r\nok",
    "no last chunk": CHUNKED + b"2\r\nok\r\n",
    "only an early answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a broken chunk": CHUNKED + b"zz\r\nok\r\n",
    "a header without a colon": LINE + b"x\r\n\r\n",
    "a negative length": LINE + b"content-length: -1\r\n\r\n",
    "two lengths": LINE + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok",
    "a coding": LINE + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxxxx",
    "another protocol, which was not named": b"HTTP/1.1 101 Switching Protocols\r\n\r\nxxxx",
    "a status below 100": b"HTTP/1.1 099 ?\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_an_error(transport: httpx.AsyncBaseTransport, answer: bytes) -> None:
    """The same as httpx's, and the request is not repeated."""
    async with serving(ending(answer)) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, server.url)
        assert server.connected == 1


async def test_too_many_headers_are_an_error(make: Make) -> None:
    """Each look at one reads all before it."""
    async with serving(ending(LINE + b"a:\r\n" * 600 + b"content-length: 0\r\n\r\n")) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="512"):
            await ask(make(), server.url)


@pytest.mark.parametrize(
    "forged", [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged", b"x", b"HTTP/1.1 2"]
)
async def test_what_follows_an_answer_is_no_answer(make: Make, forged: bytes) -> None:
    """The connection ends, and the next request takes another. (httpx's own takes it for the answer to the next request.)"""
    transport = make()
    async with serving(answering(OK + forged)) as server:
        for number in range(3):
            assert (await ask(transport, server.url))[2] == b"ok"
            assert server.connected == number + 1


async def test_what_comes_later_is_no_answer_either(make: Make) -> None:
    """Bytes on a connection that has been asked nothing end it."""
    unasked = asyncio.Event()
    transport = make()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await unasked.wait()
        await talk.say(OK.replace(b"ok", b"no"))
        await talk.until_it_ends()

    async with serving(script) as server:
        assert (await ask(transport, server.url))[2] == b"ok"
        unasked.set()
        await server.end.wait()
        assert (await ask(transport, server.url))[2] == b"ok"
        assert server.connected == 2
