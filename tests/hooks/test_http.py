"""HTTP/1.1 as clients really send it, over raw sockets against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from hookchain.cli.http_server import Server, bound
from tests.conftest import PATIENCE_S

BODY = b'{"id": "1", "status": "SUCCESS"}'
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
LENGTH = b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKS = b"transfer-encoding: chunked\r\n\r\n8\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    BODY[:8],
    len(BODY) - 8,
    BODY[8:],
)


async def echo(request: Request) -> JSONResponse:
    """What was understood."""
    body = (await request.body()).decode()
    return JSONResponse(
        [request.method, request.url.path, request.url.query, body, request.headers.get("x-own")]
    )


async def endless(_request: Request) -> StreamingResponse:
    """A stream that has more to say, but not yet."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    return StreamingResponse(parts())


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server as `hookchain serve` runs it, which tells what it understood."""
    sock, ready = bound("127.0.0.1", 0), asyncio.Event()
    routes = [Route("/endless", endless), Route("/{any:path}", echo, methods=["GET", "POST"])]
    server = Server(Starlette(routes=routes), ready.set)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    await ready.wait()
    yield sock.getsockname()[1]
    server.should_exit = True
    await running
    sock.close()


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> list[str | None]:
        """The body of the next answer, which has a length."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        length = next(line for line in head.splitlines() if line.startswith("content-length:"))
        understood: list[str | None] = json.loads(await self.reader.readexactly(int(length.split(":")[1])))
        return understood


def request(rest: bytes, offer: bytes = OFFER) -> bytes:
    return b"POST /notify/x?a=1 HTTP/1.1\r\nhost: here\r\n" + offer + b"x-own: kept\r\n" + rest


UNDERSTOOD = ["POST", "/notify/x", "a=1", BODY.decode(), "kept"]


@pytest.mark.parametrize("rest", [LENGTH, CHUNKS], ids=["content-length", "chunked"])
@pytest.mark.parametrize(
    "offer", [OFFER, b"connection: upgrade\r\nupgrade: websocket\r\n"], ids=["h2c", "websocket"]
)
async def test_a_body_behind_an_offer_to_upgrade_arrives(port: int, rest: bytes, offer: bytes) -> None:
    """In one segment, and cut at any place; and the connection can be used again."""
    whole = request(rest, offer)
    for cut in range(0, len(whole), 5):
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(whole[:cut])
        await client.writer.drain()
        await asyncio.sleep(0)
        client.writer.write(whole[cut:])
        assert await client.answer() == UNDERSTOOD, cut
        client.writer.write(request(LENGTH, b""))
        assert await client.answer() == UNDERSTOOD, cut
        client.writer.close()


async def test_requests_that_follow_one_another_at_once_are_answered_in_order(port: int) -> None:
    """With an offer in each, in one segment."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(request(LENGTH) + request(CHUNKS) + request(LENGTH, b"") + request(CHUNKS))
    for _ in range(4):
        assert await client.answer() == UNDERSTOOD
    client.writer.close()


@pytest.mark.parametrize("rest", [LENGTH, CHUNKS], ids=["content-length", "chunked"])
@pytest.mark.parametrize("offer", [OFFER, b""], ids=["h2c", "no offer"])
async def test_a_client_that_closes_its_sending_side_is_answered(
    port: int, rest: bytes, offer: bytes
) -> None:
    """All it has sent, as `nc -N` and scripts in PHP send it; then the connection ends."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(request(rest, offer) * 3)
    client.writer.write_eof()
    for _ in range(3):
        assert await client.answer() == UNDERSTOOD
    assert await client.reader.read() == b""
    client.writer.close()


@pytest.mark.parametrize("rest", [LENGTH, CHUNKS], ids=["content-length", "chunked"])
async def test_a_body_that_ends_too_early_is_refused(port: int, rest: bytes) -> None:
    """At once: the rest cannot come any more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(rest, b"")[:-3])
    writer.write_eof()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"the client closed the connection before the request was complete")
    writer.close()


async def test_a_stream_ends_when_its_reader_closes(port: int) -> None:
    """Its place is not held until there is something to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n")
    await reader.readuntil(b"begun\r\n")
    writer.write_eof()
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()


# httptools reads lines that end in LF alone only when it takes a lone CR for a line's end too.
@pytest.mark.parametrize(
    ("sent", "mistake"),
    [
        (request(LENGTH, b"").replace(b"\r\n", b"\n"), b"Expected CRLF after version"),
        (b"POST http://here:0:0/ HTTP/1.1\r\n\r\n", b"the request target is not a valid URL"),
    ],
)
async def test_a_refusal_names_the_mistake(port: int, sent: bytes, mistake: bytes) -> None:
    """So that whoever wrote the sender can mend it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert (await reader.read()).endswith(b"Invalid HTTP request: " + mistake)
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\n\r\n",
        b"nonsense\r\n\r\n",
        request(b"content-length: x\r\n\r\n"),
    ],
)
async def test_what_is_not_a_request_is_refused(port: int, head: bytes) -> None:
    """Once, and the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()
