"""Deadlines and limits, made short, on a real server, by httptools and by h11."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hookchain.cli import http_server
from hookchain.cli.http_server import Server, bound
from hooks.http import connections as connections_module
from hooks.http import fallback, protocol
from hooks.http.connection_limits import Limits
from hooks.http.connections import Connections
from tests.conftest import PATIENCE_S

SHORT_S = 0.2
LONG_S = 3600.0
LARGE = b"x" * 2_000_000

BUFFER = 16_384
"""What the system keeps of what is under way: in the tests, little, so that the server sees what is taken."""


async def _early(_request: Request) -> Response:
    return PlainTextResponse("answered before the body has come")


async def _read(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _large(_request: Request) -> Response:
    return Response(LARGE)


class Site:
    """A server, by the port it listens on."""

    def __init__(self, port: int, connections: Connections) -> None:
        self.port = port
        self.connections = connections

    async def connect(self, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.connect(("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=BUFFER)
        writer.write(sent)
        return reader, writer

    async def answer(self, sent: bytes) -> bytes:
        """All that comes back until the server ends the connection."""
        reader, writer = await self.connect(sent)
        async with asyncio.timeout(PATIENCE_S):
            found = await reader.read()
        writer.close()
        return found


@asynccontextmanager
async def site(limits: Limits) -> AsyncIterator[Site]:
    sock, ready, connections = bound("127.0.0.1", 0), asyncio.Event(), Connections(limits)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    routes = [
        Route("/early", _early, methods=["POST"]),
        Route("/read", _read, methods=["POST"]),
        Route("/large", _large),
    ]
    server = Server(Starlette(routes=routes), ready.set, connections=connections)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    await ready.wait()
    yield Site(sock.getsockname()[1], connections)
    server.should_exit = True
    await running
    sock.close()


@pytest.fixture(autouse=True, params=[protocol, fallback], ids=["httptools", "h11"])
def spoken_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By both protocols; connections are looked at more often, and a server that stops waits for nobody."""
    monkeypatch.setattr(http_server, "_protocol", lambda: request.param.Protocol)
    monkeypatch.setattr(http_server, "LINGER_S", 0)
    monkeypatch.setattr(connections_module, "LOOK_EVERY_S", SHORT_S / 4)
    return str(request.node.callspec.id)


HEAD = b"POST /%s HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("limits", "sent", "status", "why"),
    [
        (Limits(head_s=SHORT_S), b"", b"", None),
        (Limits(head_s=SHORT_S), b"POST /read HTT", b"408", "head_too_slow"),
        (Limits(head_s=SHORT_S), HEAD % b"read" + b"123456789" + b"POST /read HTT", b"200", "head_too_slow"),
        (Limits(body_s=SHORT_S), HEAD % b"read" + b"1", b"408", "body_too_slow"),
        (Limits(drain_s=SHORT_S), HEAD % b"early" + b"1", b"200", None),
    ],
    ids=["silent", "half a head", "half a second head", "half a body", "half a body behind its answer"],
)
async def test_who_is_late_is_sent_away(limits: Limits, sent: bytes, status: bytes, why: str | None) -> None:
    """With an answer where something was asked for, and counted."""
    async with site(limits) as server:
        assert (await server.answer(sent))[9:12] == status
        refused = {name for name, count in server.connections.tally.refused.items() if count}
        assert refused == ({why} if why else set())


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /read HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 2000,
        b"POST /read HTTP/1.1\r\nx: " + b"a" * 2000 + b"\r\n\r\n",
    ],
    ids=["half", "whole"],
)
async def test_a_head_that_is_too_large_is_refused(sent: bytes) -> None:
    """Complete or not; and behind an answered request too."""
    async with site(Limits(head_bytes=1000)) as server:
        assert (await server.answer(sent)).startswith(b"HTTP/1.1 431 ")
        reader, writer = await server.connect(HEAD % b"read" + b"123456789")
        assert (await reader.readuntil(b"\r\n\r\n9")).startswith(b"HTTP/1.1 200 ")
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()
        assert server.connections.tally.refused["head_too_large"] == 2


async def test_a_body_that_arrives_steadily_is_read_to_its_end() -> None:
    """It takes longer than the shortest time allowed; each kilobyte adds to that."""
    async with site(Limits(body_s=SHORT_S, body_bytes_per_s=1)) as server:
        reader, writer = await server.connect(
            b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 400\r\n\r\n"
        )
        for _ in range(20):
            writer.write(b"x" * 20)
            await asyncio.sleep(SHORT_S / 10)
        assert (await reader.readuntil(b"\r\n\r\n400")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_an_answer_is_given_up_when_nothing_of_it_is_taken_for_30_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it takes as a whole. The connection is reset: the system's buffers are free again too."""
    monkeypatch.setattr(connections_module, "LOOK_EVERY_S", LONG_S)
    async with site(Limits()) as server:
        reader, writer = await server.connect(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        now = asyncio.get_running_loop().time()
        for _ in range(10):
            await reader.readexactly(10 * BUFFER)
            now += 20
            server.connections.check(now)
        assert len(server.connections) == 1
        server.connections.check(now + 20)
        server.connections.check(now + 51)
        assert server.connections.tally.refused["answer_not_taken"] == 1
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ConnectionError):
                await reader.readexactly(len(LARGE))
        writer.transport.abort()


async def test_a_connection_stays_open_after_a_body_behind_its_answer() -> None:
    """Whose end has come in time: a router may use it again."""
    async with site(Limits(head_s=SHORT_S, drain_s=LONG_S)) as server:
        reader, writer = await server.connect(HEAD % b"early")
        await reader.readuntil(b"has come")
        writer.write(b"123456789")
        await asyncio.sleep(2 * SHORT_S)
        writer.write(HEAD % b"read" + b"123456789")
        assert (await reader.readuntil(b"\r\n\r\n9")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_the_largest_are_closed_when_all_hold_too_much() -> None:
    """Half a head of 30 kB each; who holds little stays."""
    async with site(Limits(held_bytes=200_000)) as server:
        small = await server.connect(b"POST /read HTTP/1.1\r\nhost: x\r\n")
        large = [await server.connect(b"POST /read HTTP/1.1\r\nx: " + b"a" * 30_000) for _ in range(10)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(
                [asyncio.ensure_future(reader.read()) for reader, _ in large],
                return_when=asyncio.FIRST_COMPLETED,
            )
        assert server.connections.tally.shed["too_much_memory"] > 0
        small[1].write(b"content-length: 1\r\n\r\n1")
        assert (await small[0].readuntil(b"\r\n\r\n1")).startswith(b"HTTP/1.1 200 ")
        for _, writer in [small, *large]:
            writer.transport.abort()


async def test_a_full_server_closes_who_has_sent_nothing_for_longest() -> None:
    """Idle connections that were used before, and one that has just come, stay."""
    async with site(Limits(connections=20)) as server:
        used = [await server.connect(HEAD % b"read" + b"123456789") for _ in range(5)]
        for reader, _ in used:
            await reader.readuntil(b"\r\n\r\n9")
        silent = [await server.connect(b"") for _ in range(40)]
        async with asyncio.timeout(PATIENCE_S):
            for reader, _ in silent[:25]:
                with pytest.raises(ConnectionError):
                    await reader.read()
        for reader, writer in [*used, silent[-1]]:
            writer.write(HEAD % b"read" + b"123456789")
            await reader.readuntil(b"\r\n\r\n9")
        assert server.connections.tally.shed["too_many"] == 25
        for _, writer in [*used, *silent]:
            writer.transport.abort()


async def test_offers_to_upgrade_are_counted_and_logged_once(
    spoken_by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Java's client offers one with each request."""
    offer = (
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    )
    async with site(Limits()) as server:
        for _ in range(3):
            reader, writer = await server.connect(
                b"POST /read HTTP/1.1\r\nhost: x\r\n" + offer + b"content-length: 1\r\n\r\n1"
            )
            await reader.readuntil(b"\r\n\r\n1")
            writer.close()
        assert server.connections.tally.upgrades_ignored == 3
    assert capsys.readouterr().out.count("offers to upgrade the protocol are ignored") == 1
