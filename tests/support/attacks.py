"""What a stranger can do to an HTTP server without knowing anything of it; and an honest sender beside him."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from hookchain.testing import grid
from tests.conftest import PATIENCE_S

PIECE = 65_536


class UnreadableBody:
    """One connection. It ends by itself, when the server ends it or after `PATIENCE_S`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.sent_bytes = 0

    @classmethod
    async def of(cls, port: int) -> UnreadableBody:
        """A new one."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *pieces: bytes) -> bool:
        """Send, as far as the server reads; False when it has ended the connection."""
        try:
            for piece in pieces:
                self._writer.write(piece)
                await self._writer.drain()
                self.sent_bytes += len(piece)
        except ConnectionError:
            return False
        return not self._reader.at_eof()

    async def flood(self, begin: bytes, piece: bytes, most_bytes: int) -> int:
        """Send `piece` again and again until an answer or the end comes; the status of the answer, 0 for none."""
        answer = asyncio.create_task(self.status())
        going = await self.send(begin)
        while going and self.sent_bytes < most_bytes and not answer.done():
            going = await self.send(piece)
            await asyncio.sleep(0)
        return await answer

    async def drip(self, begin: bytes, piece: bytes, pause_s: float) -> tuple[int, float]:
        """Send `piece` at a steady, slow rate until the server answers or ends the connection: the status, and after how long."""
        began = time.monotonic()
        answer = asyncio.create_task(self.status())
        going = await self.send(begin)
        while going and piece and not answer.done():
            await asyncio.wait([answer], timeout=pause_s)
            going = await self.send(piece)
        return await answer, time.monotonic() - began

    async def status(self) -> int:
        """The status of the next answer, whose rest is read up to the end of the connection; 0 when it ends without one."""
        answer = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while piece := await self._reader.read(PIECE):
                    answer += piece
        except ConnectionError:
            pass  # what came before counts
        finally:
            await self.leave()
        found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
        return int(found[1]) if found else 0

    async def fill(self, requests: bytes, most_bytes: int) -> int:
        """Send requests and read no answer, for as long as the server takes any within a second; how many bytes it took."""
        self._writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(TimeoutError):
            while self.sent_bytes < most_bytes:
                async with asyncio.timeout(1):
                    if not await self.send(requests):
                        break
        return self.sent_bytes

    async def ended(self) -> None:
        """When the server has ended the connection. What it sends is read."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(PIECE):
                pass

    async def leave(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Honest:
    """A sender that posts a callback after the other, over a new connection each time, as long as it runs."""

    def __init__(self, port: int, path: str, name: str) -> None:
        self._port = port
        self._path = path
        self._name = name
        self.answers: list[int] = []
        self.slowest_s = 0.0

    async def run(self, stopped: threading.Event) -> None:
        """Until it is stopped; three callbacks at least."""
        while not stopped.is_set() or len(self.answers) < 3:
            began = time.monotonic()
            self.answers.append(await self.post(f"{self._name}-{len(self.answers)}"))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.02)

    async def post(self, task_id: str) -> int:
        """Post a finished grid's callback; the status of the answer."""
        body = msgspec.json.encode(grid(task_id))
        head = f"POST {self._path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            stranger = await UnreadableBody.of(self._port)
        except ConnectionError:
            return 0
        await stranger.send(head.encode() + body)
        return await stranger.status()


@contextlib.asynccontextmanager
async def beside(port: int, path: str, name: str) -> AsyncIterator[Honest]:
    """An honest sender that runs beside an attack, with a loop of its own: it would wait for the attackers otherwise."""
    honest, stopped = Honest(port, path, name), threading.Event()
    running = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(honest.run(stopped))))
    try:
        yield honest
    finally:
        stopped.set()
        await running


def resident_mb(pid: int) -> float:
    """Memory of a process (proc(5))."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1000


async def stay(port: int, begin: bytes, stopped: asyncio.Event) -> None:
    """One stranger who sends `begin`, and comes again a second after he was sent away."""
    while not stopped.is_set():
        with contextlib.suppress(ConnectionError):
            stranger = await UnreadableBody.of(port)
            await stranger.send(begin)
            gone = asyncio.create_task(stranger.ended())
            await asyncio.wait(
                [gone, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED
            )
            await stranger.leave()
            await gone
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stopped.wait()


async def crowd(port: int, count: int, begin: bytes) -> list[UnreadableBody]:
    """Strangers that each send `begin`, and stay."""
    found: list[UnreadableBody] = []
    for _ in range(count):
        with contextlib.suppress(ConnectionError):
            stranger = await UnreadableBody.of(port)
            found.append(stranger)
            if begin:
                await stranger.send(begin)
    return found
