"""An API server that is hostile to whoever asks it: `python upstream.py MANNER SECONDS`. Standard library only.

Prints its address, answers every request in its manner, and ends by itself.
"""

from __future__ import annotations

import asyncio
import gzip
import struct
import sys
import zlib
from functools import cache

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nconnection: close\r\n"
SIDE = 13_300
"""Pixels: 177 million in all."""


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def pixel_bomb() -> bytes:
    """A small PNG with very many pixels of four bytes."""
    packer, row = zlib.compressobj(9), b"\0" * (1 + 4 * SIDE)
    data = b"".join(packer.compress(row) for _ in range(SIDE)) + packer.flush()
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


async def endless(writer: asyncio.StreamWriter) -> None:
    """JSON that does not end."""
    writer.write(HEAD % b"application/json" + b'\r\n{"id":"')
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()


async def gzip_bomb(writer: asyncio.StreamWriter) -> None:
    """300 kB that are 300 MB."""
    bomb = gzip.compress(b"[" + b"0" * 300_000_000, 1)
    writer.write(
        HEAD % b"application/json"
        + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
        + bomb
    )
    await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    """A byte a second."""
    writer.write(HEAD % b"application/json" + b"\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(1)


async def picture(writer: asyncio.StreamWriter) -> None:
    """The same picture for every question."""
    body = pixel_bomb()
    writer.write(HEAD % b"image/png" + b"content-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


MANNERS = {"endless": endless, "gzip-bomb": gzip_bomb, "dripping": dripping, "picture": picture}


async def serve(manner: str, seconds: float) -> None:
    """Answer until the time is over."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await MANNERS[manner](writer)
        except (OSError, asyncio.IncompleteReadError):
            print("whoever asked has gone", file=sys.stderr)
        finally:
            writer.close()

    if manner == "picture":
        pixel_bomb()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.sleep(seconds)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
