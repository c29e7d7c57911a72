"""A web server that means harm: its answers have no end, unpack to gigabytes, or come a byte at a time.

Each attack has a path. All of them stop by themselves: after 400 MB, or 20 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache

MOST_BYTES = 400 * 1024 * 1024
DRIPS, DRIP_S = 400, 0.05

PNG = b"\x89PNG\r\n\x1a\n"
Body = AsyncIterator[bytes]


async def endless(start: bytes) -> Body:
    """A body that goes on and on."""
    yield start
    for _ in range(MOST_BYTES // 65536):
        yield b"x" * 65536


async def drip(start: bytes) -> Body:
    """A byte at a time."""
    yield start
    for _ in range(DRIPS):
        yield b" "
        await asyncio.sleep(DRIP_S)


async def bomb(start: bytes, times: int = 1) -> Body:
    """A thousandth of what it unpacks to; packed again, a millionth."""
    yield packed_bomb(start, times)


@cache
def packed_bomb(start: bytes, times: int = 1) -> bytes:
    """All of it; making one takes a second."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = packer.compress(start)
    for _ in range(MOST_BYTES // (1024 * 1024)):
        packed += packer.compress(b" " * (1024 * 1024))
    packed += packer.flush()
    for _ in range(times - 1):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packer.compress(packed) + packer.flush()
    return packed


async def early_hints(_start: bytes) -> Body:
    """Answers before the answer, for ever."""
    for _ in range(DRIPS):
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n"
        await asyncio.sleep(DRIP_S)


async def long_id(_start: bytes) -> Body:
    """A task, but for its id, which fills the answer."""
    yield b'{"status":"SUCCESS","id":"' + b"x" * 3_900_000 + b'"}'


async def one_byte_chunks(_start: bytes) -> Body:
    """As much framing as can be had for a body."""
    for _ in range(MOST_BYTES // 65536):
        yield b"1\r\n \r\n" * 10_000


async def chunk_extensions(_start: bytes) -> Body:
    """The same, in a part of the framing that nobody reads."""
    for _ in range(MOST_BYTES // 65536):
        yield (b"1;" + b"x" * 4000 + b"\r\n \r\n") * 16


async def flood_of_hints(_start: bytes) -> Body:
    """Answers before the answer, as quickly as they are taken."""
    for _ in range(MOST_BYTES // 65536):
        yield b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 1500


async def many_fields(_start: bytes) -> Body:
    """A task, with 3 MB of fields that nobody knows beside."""
    yield b'{"id":"1","status":"SUCCESS","action":"IMAGINE"'
    yield b"".join(b',"k%d":"vvvvvvvv"' % one for one in range(150_000)) + b"}"


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
ATTACKS: dict[str, tuple[bytes, Callable[[bytes], Body]]] = {
    "endless": (OK + b"\r\n", endless),
    "flood of hints": (b"", flood_of_hints),
    "one byte chunks": (CHUNKED, one_byte_chunks),
    "chunk extensions": (CHUNKED, chunk_extensions),
    "many fields": (OK + b"\r\n", many_fields),
    "long id": (OK + b"\r\n", long_id),
    "endless error": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", endless),
    "declared": (OK + b"content-length: 400000000\r\n\r\n", endless),
    "drip": (OK + b"\r\n", drip),
    "drip in the head": (OK + b"x-a: ", drip),
    "early hints": (b"", early_hints),
    "bomb": (OK + b"content-encoding: gzip\r\n\r\n", bomb),
    "bomb of bombs": (OK + b"content-encoding: gzip, gzip\r\n\r\n", lambda start: bomb(start, 2)),
}


class HostileWeb:
    """`url_of` is the address of an attack; `start` is what the body begins with."""

    def __init__(self, start: bytes) -> None:
        self._start = start
        packed_bomb(start), packed_bomb(start, 2)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        )
        self.server = serving.result(10)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def url_of(self, attack: str) -> str:
        return f"{self.url}/{attack.replace(' ', '-')}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            name = head.split(" ")[1].split("/")[1].replace("-", " ")
            begin, body = ATTACKS[name]
            writer.write(begin)
            async for piece in body(self._start):
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()

    def stop(self) -> None:
        """End it."""

        async def end() -> None:
            self.server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def hostile_web(start: bytes = b"") -> Iterator[HostileWeb]:
    """One for the time of a `with`."""
    web = HostileWeb(start)
    try:
        yield web
    finally:
        web.stop()
