"""A router reuses connections: who of the two closes an idle one decides whether a callback is lost."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hookchain.cli.http_server import Server, bound
from hookchain.testing import grid
from tests.conftest import PATIENCE_S

SOON_S = 1.0
"""The shortest that can be set."""

LONG_S = 90.0
"""As Heroku's router; shorter than the default, so that it shows whether the setting is heeded."""


class Router:
    """Sends requests over one connection for as long as it may be idle, and repeats none: a POST may have been carried out."""

    def __init__(self, port: int, *, idle_s: float) -> None:
        self._port = port
        self._idle_s = idle_s
        self._kept: socket.socket | None = None
        self.connections = 0

    def post(self, path: str, body: bytes) -> int:
        """The status that whoever sends a callback is answered."""
        if self._kept is None:
            self._kept = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
            self.connections += 1
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            self._kept.sendall(head.encode() + body)
            return int(self._answer().split(b" ", 2)[1])
        except (ConnectionError, IndexError):  # it was closed, and nothing came back
            self.close()
            return 502

    def _answer(self) -> bytes:
        assert self._kept is not None
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (more := self._kept.recv(65536)):
                return b""
            answer += more
        head, body = answer.split(b"\r\n\r\n", 1)
        (length,) = [
            line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")
        ]
        while len(body) < int(length):
            body += self._kept.recv(65536)
        return head

    def rest(self) -> None:
        """Be idle until one of the two has closed the connection. What the server closes is kept as if the news of it were
        still under way: that is the moment in which callbacks are lost."""
        assert self._kept is not None
        self._kept.settimeout(self._idle_s)
        try:
            assert self._kept.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            self.close()
        else:
            self._kept.settimeout(PATIENCE_S)

    def close(self) -> None:
        """Keep no connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@pytest.mark.parametrize(
    ("keep_alive_s", "idle_s", "answered", "connections"),
    [
        pytest.param(SOON_S, LONG_S, 502, 1, id="the server's is shorter"),
        pytest.param(PATIENCE_S, SOON_S, 200, 2, id="the server's is longer"),
    ],
)
def test_a_callback_is_lost_only_where_the_router_keeps_connections_for_longer(
    start_server: Any, keep_alive_s: float, idle_s: float, answered: int, connections: int
) -> None:
    """A callback, a rest, and the one that counts. It is sent once: where it is answered 502, nobody ever sees it."""
    server = start_server(
        HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", HOOKCHAIN_KEEP_ALIVE_S=f"{keep_alive_s:g}"
    )
    router = Router(int(server.url.rsplit(":")[-1]), idle_s=idle_s)
    path = server.hook.removeprefix(server.url)
    assert router.post(path, msgspec.json.encode(grid("first"))) == 200
    router.rest()
    assert router.post(path, msgspec.json.encode(grid("second"))) == answered
    router.close()
    assert router.connections == connections
    assert len(server.get("/api/events?task_id=second")["events"]) == (1 if answered == 200 else 0)


async def _answer(request: Request) -> Response:
    return Response(await request.body())


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bytes:
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(body)) == body
    return head.lower()


async def test_a_server_that_stops_answers_on_the_connections_that_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Idle and new ones; each is told that it is closed, and then is."""
    monkeypatch.setattr("hookchain.cli.http_server.LINGER_S", PATIENCE_S)
    ready, stopping = asyncio.Event(), asyncio.Event()
    server = Server(
        Starlette(routes=[Route("/", _answer, methods=["POST"])]), ready.set, on_stop=stopping.set
    )
    with bound("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        await ready.wait()
        idle = await asyncio.open_connection("127.0.0.1", port)
        assert b"connection: close" not in await _exchange(*idle, b"before")
        server.should_exit = True
        await stopping.wait()
        new = await asyncio.open_connection("127.0.0.1", port)
        for reader, writer in (new, idle):
            head = await _exchange(reader, writer, b"a callback")
            assert (head[:15], b"connection: close" in head) == (b"http/1.1 200 ok", True)
            assert await reader.read() == b""
            writer.close()
        await asyncio.wait_for(serving, PATIENCE_S)
