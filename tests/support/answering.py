"""A server that answers each connection by a script, over a real socket in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Talk:
    """One connection, as the server has it."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self.reader, self.writer = server, reader, writer

    async def request(self) -> bytes:
        """The next request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [
            line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        request = head + await self.reader.readexactly(int(lengths[0]) if lengths else 0)
        self._server.requests.append(request)
        return request

    async def say(self, *pieces: bytes) -> None:
        """Send each piece in a packet of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def until_it_ends(self) -> None:
        """Until the client has ended the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self._server.ended += 1
        self._server.end.set()


Script = Callable[[Talk], Awaitable[None]]


class Server:
    """`requests` are those received, `connected` and `ended` numbers of connections. `end` is set when the client ends one."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[bytes] = []
        self.connected = self.ended = 0
        self.end = asyncio.Event()
        self.url = ""
        self._running: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run the script with a new connection."""
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(Talk(self, reader, writer))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """End what runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server for the time of a `with`."""
    server = Server(script)
    listening = await asyncio.start_server(server.accept, host, 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        yield server
    finally:
        listening.close()
        await server.stop()


def answering(*pieces: bytes) -> Script:
    """Answers every request with these packets."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.say(*pieces)

    return script


def ending(*pieces: bytes) -> Script:
    """Answers the first request with these packets, and ends the connection."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(*pieces)

    return script


async def ask(
    transport: httpx.AsyncBaseTransport,
    url: str,
    *,
    method: str = "GET",
    content: bytes = b"",
    **extensions: object,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    request = httpx.Request(method, url, content=content, extensions=extensions)
    response = await transport.handle_async_request(request)
    return response.status_code, dict(response.headers), await response.aread()
