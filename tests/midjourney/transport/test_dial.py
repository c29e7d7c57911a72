"""How a connection is made: names with several addresses, TLS, options of the socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from midjourney.transport import dial
from midjourney.transport.connection import Connection
from tests.midjourney.transport.conftest import Make
from tests.support.answering import OK, Talk, answering, ask, serving

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="needs 127.0.0.2, which Linux has")

Leads = Callable[..., None]


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Leads:
    """Let the name localhost lead to these addresses."""

    def leads(*addresses: str) -> None:
        async def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
            families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
            return [
                (family, socket.SOCK_STREAM, 6, "", (one, port))
                for family, one in zip(families, addresses, strict=True)
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return leads


async def test_an_address_that_refuses_is_passed_over(make: Make, leads: Leads) -> None:
    """At once."""
    leads("::1", "127.0.0.2", "127.0.0.1")
    async with serving(answering(OK)) as server:
        assert (await ask(make(), server.url.replace("127.0.0.1", "localhost")))[2] == b"ok"


async def test_an_address_that_is_silent_is_passed_over(
    make: Make,
    leads: Leads,
    certificate: tuple[Path, Path],
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one starts after a moment, and the connection to the silent one ends."""
    monkeypatch.setattr(dial, "STAGGER_S", 0.05)
    leads("127.0.0.2", "127.0.0.1")
    async with serving(answering(OK), tls=tls) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        port = httpx.URL(url).port
        silent = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                pass
            silent.set()
            writer.close()

        held = await asyncio.start_server(hold, "127.0.0.2", port)
        assert (await ask(make(certificate[0]), url))[2] == b"ok"
        await silent.wait()
        held.close()


async def test_a_name_whose_addresses_all_refuse_is_an_error(make: Make, leads: Leads) -> None:
    """That says why."""
    leads("127.0.0.2", "127.0.0.3")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(httpx.ConnectError, match=r"(?i)connect"):
        await ask(make(), f"http://localhost:{port}")


async def test_who_is_cancelled_leaves_no_connection(
    make: Make, leads: Leads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While addresses race."""
    monkeypatch.setattr(dial, "STAGGER_S", 0.01)
    leads("127.0.0.1", "127.0.0.1", "127.0.0.1")
    async with serving(Talk.until_it_ends) as server:
        url = server.url.replace("127.0.0.1", "localhost").replace("http:", "https:")
        asking = asyncio.create_task(ask(make(), url))
        while server.connected < 3:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while server.ended < 3:
            await server.end.wait()
            server.end.clear()


def test_the_families_of_a_name_take_turns() -> None:
    """The one that DNS names first begins."""

    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            found = [(10, "a6"), (10, "b6"), (10, "c6"), (2, "a4")]
            return [(family, socket.SOCK_STREAM, 6, "", (address, 1)) for family, address in found]

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(dial._addresses(dial.Origin("x", 1, ""))) == ["a6", "a4", "b6", "c6"]


async def test_a_literal_address_is_not_looked_up(make: Make, leads: Leads) -> None:
    """Of either family."""
    leads("192.0.2.1")
    for host in ("127.0.0.1", "::1"):
        async with serving(answering(OK), host=host) as server:
            assert (await ask(make(), server.url))[2] == b"ok"


async def test_the_certificate_can_have_another_name_than_the_host(
    make: Make, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """`sni_hostname` is the name; without it the host must match."""
    async with serving(answering(OK), tls=tls) as server:
        assert (await ask(make(certificate[0]), server.url, sni_hostname="localhost"))[2] == b"ok"
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await ask(make(certificate[0]), server.url)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await ask(make(certificate[0]), server.url, sni_hostname="other.example")


async def test_small_packets_do_not_wait(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP_NODELAY: the second piece of a request would wait 40 ms for an acknowledgement."""
    seen: list[int] = []
    made = Connection.connection_made

    def look(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(Connection, "connection_made", look)
    async with serving(answering(OK)) as server:
        await ask(make(), server.url)
    assert seen
    assert all(seen)
