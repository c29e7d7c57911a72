"""Which failures are certain to cost nothing (`NotSent`), and which may have cost money (`NoAnswer`)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from midjourney import connections
from midjourney.connections import Connections
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Upstream
from midjourney.errors import NoAnswer, NotSent
from midjourney.slices import in_slices
from midjourney.tls import trusted
from midjourney.transport import outgoing
from tests.support.answering import OK, Script, Talk, answering, ending, serving

Connect = Callable[..., Connections]
SHORT_S = 0.2


@pytest.fixture(params=["ours", "httpx"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Connections over our transport, and over httpx's."""
    made: list[Connections] = []

    def connect(url: str, *, timeout_s: float = 60.0, concurrency: int = 3) -> Connections:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        other = (
            None
            if request.param == "ours"
            else in_slices(httpx.AsyncHTTPTransport(limits=limits, verify=trusted()))
        )
        if request.param == "ours":
            connections_ = Connections(
                Upstream(url=url, timeout_s=timeout_s, concurrency=concurrency), DIALECTS[DEFAULT_DIALECT]
            )
        else:
            connections_ = Connections(
                Upstream(url=url, timeout_s=timeout_s), DIALECTS[DEFAULT_DIALECT], transport=other
            )
        made.append(connections_)
        return connections_

    yield connect
    for one in made:
        await one.aclose()


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "http://nowhere.invalid",
        "https://127.0.0.1:{port}",
        "ftp://127.0.0.1",
        "http://",
        "http://x:y",
    ],
)
async def test_what_leads_nowhere_is_not_sent(connect: Connect, url: str) -> None:
    """No connection, so no request."""
    with pytest.raises(NotSent):
        await connect(url.format(port=unused_port())).send("POST", "/mj/submit/action", {})


async def test_a_header_that_cannot_be_sent_is_not_sent() -> None:
    """A key with a line break would be two headers."""
    upstream = Upstream(url="http://127.0.0.1:9", key="a\r\nb: c")
    asking = Connections(upstream, DIALECTS[DEFAULT_DIALECT])
    with pytest.raises(NotSent):
        await asking.send("POST", "/mj/submit/action", {})
    await asking.aclose()


@pytest.mark.parametrize("path", ["/a b", "/ä", "/a%0d%0ab", "/\x7f"])
async def test_no_path_ends_the_line(path: str) -> None:
    """httpx writes such characters with percent signs, or refuses them."""
    async with serving(answering(OK)) as server:
        asking = Connections(Upstream(url=server.url), DIALECTS[DEFAULT_DIALECT])
        try:
            await asking.send("GET", path)
        except NotSent:
            assert server.requests == []
        else:
            assert server.requests[0].split(b"\r\n")[0].count(b" ") == 2
        await asking.aclose()


async def test_a_certificate_that_is_not_trusted_gets_nothing(connect: Connect, tls: ssl.SSLContext) -> None:
    """Not even the head, which has the key."""
    async with serving(answering(OK), tls=tls) as server:
        with pytest.raises(NotSent):
            await connect(server.url.replace("127.0.0.1", "localhost")).send("POST", "/mj/submit/action", {})
        assert server.requests == []


async def test_a_server_that_does_not_encrypt_gets_nothing(connect: Connect) -> None:
    """An https:// URL at a port that answers in plain text."""

    async def script(talk: Talk) -> None:
        await talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(script) as server:
        with pytest.raises(NotSent):
            await connect(server.url.replace("http:", "https:")).send("POST", "/mj/submit/action", {})


async def test_a_handshake_without_end_is_not_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as the connection."""
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", SHORT_S)
    async with serving(Talk.until_it_ends) as server:
        with pytest.raises(NotSent):
            await connect(server.url.replace("http:", "https:")).send("POST", "/mj/submit/action", {})


async def test_who_waits_too_long_for_a_connection_is_not_sent() -> None:
    """All are in use."""
    limits = httpx.Limits(max_connections=1)
    async with serving(Talk.until_it_ends) as server:
        upstream = Upstream(url=server.url, timeout_s=SHORT_S)
        asking = Connections(upstream, DIALECTS[DEFAULT_DIALECT], transport=outgoing(limits))
        slow = Connections(
            Upstream(url=server.url, timeout_s=60.0), DIALECTS[DEFAULT_DIALECT], transport=asking._transport
        )
        first = asyncio.create_task(slow.send("POST", "/mj/submit/action", {}))
        while not server.connected:
            await asyncio.sleep(0)
        with pytest.raises(NotSent, match="no connection became free"):
            await asking.send("POST", "/mj/submit/action", {})
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asking.aclose()
        assert server.connected == 1


def broken_off(reset: bool) -> Script:
    """Reads the request, and ends the connection."""

    async def script(talk: Talk) -> None:
        await talk.request()
        if reset:
            sock: socket.socket = talk.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            talk.writer.transport.abort()

    return script


@pytest.mark.parametrize(
    "script",
    [broken_off(False), broken_off(True), ending(b"HTTP/1.1 2"), ending(b"SSH-2.0\r\n"), ending(OK[:-1])],
    ids=["closed", "reset", "half a head", "not HTTP", "half a body"],
)
async def test_what_has_left_may_have_cost_money(connect: Connect, script: Script) -> None:
    """And is not repeated."""
    async with serving(script) as server:
        with pytest.raises(NoAnswer):
            await connect(server.url).send("POST", "/mj/submit/action", {})
        assert len(server.requests) == 1


async def test_silence_may_have_cost_money(connect: Connect) -> None:
    """The clock starts when the request has left."""
    async with serving(Talk.until_it_ends) as server:
        with pytest.raises(NoAnswer, match="did not end within"):
            await connect(server.url, timeout_s=SHORT_S).send("POST", "/mj/submit/action", {})


async def test_a_kept_connection_that_breaks_is_not_tried_again(connect: Connect) -> None:
    """The server had the request, and ended the connection without an answer."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        await talk.request()

    async with serving(script) as server:
        asking = connect(server.url)
        await asking.send("POST", "/mj/submit/action", {"number": 1})
        with pytest.raises(NoAnswer):
            await asking.send("POST", "/mj/submit/action", {"number": 2})
        assert (server.connected, len(server.requests)) == (1, 2)


class Thread:
    """A server in a thread, which goes on while the client's event loop does not: it answers and ends each connection."""

    def __init__(self, connections: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.may_end, self.has_ended = threading.Event(), threading.Event()
        self.requests = 0
        self._thread = threading.Thread(target=self._serve, args=(connections,), daemon=True)
        self._thread.start()

    def _serve(self, connections: int) -> None:
        with self._listening:
            for _ in range(connections):
                connection, _ = self._listening.accept()
                with connection:
                    self.requests += bool(connection.recv(65536))
                    connection.sendall(OK)
                    self.may_end.wait(60)
                self.has_ended.set()


async def test_a_connection_that_has_ended_is_not_used(connect: Connect) -> None:
    """Even if the event loop has had no turn in which to see it: the request would have an unknown outcome."""
    server = Thread(2)
    asking = connect(server.url)
    for _ in range(2):
        assert (await asking.send("POST", "/mj/submit/action", {})).status == 200
        server.may_end.set()
        assert server.has_ended.wait(60)
    assert server.requests == 2


async def test_a_submission_may_leave_until_its_first_byte(connect: Connect) -> None:
    """It is asked for once, when the connection stands. A refusal leaves nothing at the server, and the next one may go."""
    asked: list[int] = []
    async with serving(answering(OK)) as server:
        asking = connect(server.url)

        def may_leave() -> bool:
            asked.append(server.connected)
            return len(asked) % 2 == 0

        for _ in range(3):
            with pytest.raises(NotSent, match="delayed"):
                await asking.send("POST", "/mj/submit/action", {}, may_leave=may_leave)
            assert (await asking.send("POST", "/mj/submit/action", {}, may_leave=may_leave)).status == 200
        assert len(asked) == 6
        assert len(server.requests) == 3


async def test_a_submission_may_leave_until_it_is_encrypted(
    certificate: tuple[Path, Path], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake comes first, with the name that the certificate must have."""
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    trusted.cache_clear()
    asked: list[int] = []
    async with serving(answering(OK), tls=tls) as server:
        upstream = Upstream(url=server.url.replace("127.0.0.1", "localhost"))
        asking = Connections(upstream, DIALECTS[DEFAULT_DIALECT])

        def may_leave() -> bool:
            asked.append(len(names))
            return False

        with pytest.raises(NotSent, match="delayed"):
            await asking.send("POST", "/mj/submit/action", {}, may_leave=may_leave)
        assert (await asking.send("POST", "/mj/submit/action", {})).content == b"ok"
        await asking.aclose()
    trusted.cache_clear()
    assert (asked, names, len(server.requests)) == ([1], ["localhost"], 1)
