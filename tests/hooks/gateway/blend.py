"""A program that takes a large blend in, stores it, and sends it on; it prints how much memory that took at most, as JSON.

Run it with the database's URL, the number of bytes of each of five images, and "json" or "form".
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import socket
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hooks.gateway.form_fields import form_of
from hooks.gateway.spool import Spool
from midjourney.client import Client
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Upstream
from midjourney.requests import Blend
from storage import clock
from storage.blobs.store import BlobStore
from storage.engine import Database

PIECE_BYTES = 64 * 1024
ANSWER = b'{"code":1,"description":"","result":"1730000000000001"}'


def body(image_bytes: int) -> Iterator[bytes]:
    """A blend of five images, in pieces."""
    yield b'{"botType":"MID_JOURNEY","base64Array":['
    for number in range(5):
        yield b'%b"data:image/png;base64,iVBORw0KGgoA' % (b"," if number else b"")
        letter = b"ABCDE"[number : number + 1]
        for start in range(0, image_bytes, PIECE_BYTES):
            yield letter * (min(PIECE_BYTES, image_bytes - start) // 4 * 4)
        yield b'"'
    yield b"]}"


def images(image_bytes: int) -> Iterator[bytes]:
    """The five files of a form, whole."""
    for number in range(5):
        yield b"\x89PNG\r\n\x1a\n" + b"ABCDE"[number : number + 1] * (image_bytes - 8)


def form(image_bytes: int) -> Iterator[bytes]:
    """The same blend as a form, in pieces."""
    yield b'--x\r\ncontent-disposition: form-data; name="botType"\r\n\r\nMID_JOURNEY'
    for number in range(5):
        yield b'\r\n--x\r\ncontent-disposition: form-data; name="image"; filename="%d.png"\r\n\r\n' % number
        yield b"\x89PNG\r\n\x1a\n"
        letter = b"ABCDE"[number : number + 1]
        for start in range(0, image_bytes - 8, PIECE_BYTES):
            yield letter * min(PIECE_BYTES, image_bytes - 8 - start)
    yield b"\r\n--x--\r\n"


class Listener:
    """Reads requests into one buffer, and answers. `size` and `digest` are of the body of the last."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.size, self.digest = 0, ""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:  # a client closes connections that were idle for some seconds
            connection, _ = self._listening.accept()
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        file = connection.makefile("rb", buffering=PIECE_BYTES)
        while line := file.readline():
            size = 0
            while line not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
                line = file.readline()
            self.size, digest = size, hashlib.sha256()
            while size:
                piece = file.read(min(size, PIECE_BYTES))
                digest.update(piece)
                size -= len(piece)
            self.digest = digest.hexdigest()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))


async def blend(spool: Spool, client: Client, image_bytes: int, written_as: str) -> None:
    """Take one in, store it, send it."""
    pieces = form(image_bytes) if written_as == "form" else body(image_bytes)
    headers = [(b"content-type", b"multipart/form-data; boundary=x")] if written_as == "form" else []

    async def receive() -> dict[str, Any]:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    about = {"type": "http", "headers": headers}
    async with spool.spooled(about, receive, form=form_of("submit/blend")) as received:
        await received.keep()
        blobs = received.fields["base64Array"]
        assert isinstance(blobs, list)
    reply = await client.submit(Blend(images=tuple(blobs)), state="mark")
    assert reply.status == 200, reply


def resident(name: str) -> int:
    """kB of this process by Linux: VmRSS, or VmHWM, the most so far; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


async def main(url: str, image_bytes: int, written_as: str) -> None:
    """Twice a small one, which loads what is needed, then the large one: first by the system's count, then by Python's."""
    database = Database(url)
    await database.open()
    store = BlobStore(database, clock.now_ms)
    upstream = Listener()
    client = Client(Upstream(url=upstream.url), DIALECTS[DEFAULT_DIALECT], blobs=store)
    spool = Spool(store)
    for _ in range(2):
        await blend(spool, client, 512 * 1024, written_as)
    gc.collect()
    resets = Path("/proc/self/clear_refs")
    if resets.exists():
        resets.write_text("5")
    before = resident("VmRSS")
    await blend(spool, client, image_bytes, written_as)
    grown = 1024 * (resident("VmHWM") - before)
    tracemalloc.start()
    await blend(spool, client, image_bytes, written_as)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(json.dumps({"size": upstream.size, "digest": upstream.digest, "grown": grown, "peak": peak}))
    await client.aclose()
    await store.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
