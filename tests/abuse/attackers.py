"""Attacks on a server of ours, each a process that ends by itself: `python attackers.py NAME PORT HOOK SECONDS`.

It begins when a line comes by standard input, so that attacks which run together begin together on any machine. Written from the surface alone: what a stranger, or the holder of one hook, knows. It uses nothing but the standard library, and
prints one JSON object of counts at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

PIECE = b"a" * 65_536
TALKING_S = 3.0
"""How long an attacker waits for one answer."""


class Attacker:
    """One process of them: where to, until when, and what came of it."""

    def __init__(self, port: int, hook: str, seconds: float) -> None:
        self.port, self.hook = port, hook.encode()
        self.ends_at = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        """False once its time is over."""
        return time.monotonic() < self.ends_at

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        streams = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), TALKING_S)
        self.counts["connections"] += 1
        return streams

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send, as far as the server takes it before the end."""
        writer.write(data)
        await asyncio.wait_for(writer.drain(), max(0.1, self.ends_at - time.monotonic()))
        self.counts["sent_bytes"] += len(data)

    async def ask(self, data: bytes) -> bytes:
        """One request on a connection of its own, and the beginning of its answer."""
        reader, writer = await self.connect()
        try:
            await self.send(writer, data)
            answer = await asyncio.wait_for(reader.read(4096), TALKING_S)
        finally:
            writer.close()
        self.counts[(answer[9:12] or b"none").decode()] += 1
        return answer

    async def post(self, body: bytes, *headers: bytes) -> bytes:
        """A callback by the hook that the holder has seen."""
        head = [b"POST %s HTTP/1.1" % self.hook, b"host: x", b"content-length: %d" % len(body), *headers]
        return await self.ask(b"\r\n".join([*head, b"connection: close", b"", b""]) + body)

    async def crowd(self, size: int, one: Callable[[], Awaitable[object]]) -> None:
        """So many at once, each again and again until the end."""

        async def again() -> None:
            while self.goes_on:
                try:
                    await asyncio.wait_for(one(), max(0.1, self.ends_at - time.monotonic()))
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    self.counts["broken"] += 1
                    await asyncio.sleep(0.02)

        await asyncio.gather(*(again() for _ in range(size)))


async def _endless(me: Attacker, begin: bytes) -> None:
    async def one() -> None:
        _, writer = await me.connect()
        with contextlib.closing(writer):
            await me.send(writer, begin)
            while me.goes_on:
                await me.send(writer, PIECE)

    await me.crowd(4, one)


async def endless_head(me: Attacker) -> None:
    """A header that does not end."""
    await _endless(me, b"POST %s HTTP/1.1\r\nhost: x\r\nx: " % me.hook)


async def endless_url(me: Attacker) -> None:
    """An address that does not end."""
    await _endless(me, b"GET /")


async def half_heads(me: Attacker) -> None:
    """Forty heads of 8 MB that are never finished."""

    async def one() -> None:
        _, writer = await me.connect()
        with contextlib.closing(writer):
            await me.send(writer, b"GET / HTTP/1.1\r\nhost: x\r\n")
            for number in range(120):
                await me.send(writer, b"x-%d: " % number + PIECE + b"\r\n")
            await asyncio.sleep(max(0.0, me.ends_at - time.monotonic()))

    await me.crowd(40, one)


async def unread_pipelines(me: Attacker) -> None:
    """Thousands of requests in a row, whose answers nobody reads."""

    async def one() -> None:
        reader, writer = await me.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.closing(writer):
            while me.goes_on:
                await me.send(writer, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)

    await me.crowd(8, one)


async def silent(me: Attacker) -> None:
    """1,100 connections that say nothing."""

    async def one() -> None:
        reader, writer = await me.connect()
        with contextlib.closing(writer):
            await reader.read(1)

    await me.crowd(1_100, one)


def _task(number: int, **fields: object) -> bytes:
    task = {
        "id": f"attack-{os.getpid()}-{number}",
        "status": "SUCCESS",
        "progress": "100%",
        "action": "IMAGINE",
    }
    return json.dumps(task | fields).encode()


async def _flood(me: Attacker, body: Callable[[int], bytes], crowd: int = 8) -> None:
    numbers = count()
    await me.crowd(crowd, lambda: me.post(body(next(numbers))))


async def different_bodies(me: Attacker) -> None:
    """Invented tasks of 500 kB, each another."""
    await _flood(me, lambda number: _task(number, prompt="x" * 500_000))


async def equal_bodies(me: Attacker) -> None:
    """One invented task of 500 kB, again and again."""
    await _flood(me, lambda _: _task(0, prompt="x" * 500_000))


async def long_fields(me: Attacker) -> None:
    """A status and an action of 250 kB each."""
    await _flood(me, lambda number: _task(number, status="s" * 250_000, action="a" * 250_000))


async def quarantine(me: Attacker) -> None:
    """Bodies of 1 MB that are no task, while the owner looks at the list and the page of them."""
    token = os.environ["ABUSE_TOKEN"].encode()
    numbers = count()

    async def look() -> None:
        paths = (b"/api/quarantine?limit=60", b"/operations")
        for path in paths:
            await me.ask(
                b"GET %s HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\n"
                b"connection: close\r\n\r\n" % (path, token)
            )

    flood = me.crowd(4, lambda: me.post(b"[%d" % next(numbers) + b",1" * 500_000 + b"]"))
    await asyncio.gather(flood, me.crowd(1, look))


async def readyz(me: Attacker) -> None:
    """Anonymous questions that would each write."""
    await me.crowd(8, lambda: me.ask(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))


async def gzipped(me: Attacker) -> None:
    """Bodies of 1 MB that would be 1 GB."""
    bomb = gzip.compress(gzip.compress(b"0" * (1 << 28), 1), 1)
    await me.crowd(4, lambda: me.post(bomb, b"content-encoding: gzip, gzip"))


async def local_files(me: Attacker) -> None:
    """Pictures that are files of the server: endless ones, a FIFO, a secret."""
    places = ["/dev/zero", "/dev/stdin", "fifo", "file:///dev/zero", "hookchain.db", "/etc/passwd"]
    await _flood(
        me, lambda number: _task(number, action="LOAD", imageUrl=places[number % len(places)]), crowd=2
    )


async def hostile_pictures(me: Attacker) -> None:
    """Grids whose picture, at the upstream, is small and has 177 million pixels."""
    url = os.environ["ABUSE_UPSTREAM"]
    buttons = [{"customId": f"MJ::JOB::upsample::{n}::x", "label": f"U{n}"} for n in range(1, 5)]
    await _flood(
        me,
        lambda number: _task(number, action="SPLIT", buttons=buttons, imageUrl=f"{url}/p{number}.png"),
        crowd=2,
    )


async def heavy_prompts(me: Attacker) -> None:
    """Prompts of 900 kB, for rules with expensive conditions."""
    await _flood(me, lambda number: _task(number, action="HEAVY", prompt="a b " * 225_000), crowd=2)


async def many_tasks(me: Attacker) -> None:
    """Small invented tasks, so that the upstream is asked about each."""
    await _flood(me, _task, crowd=4)


ATTACKS = {
    one.__name__.replace("_", "-"): one
    for one in (
        endless_head, endless_url, half_heads, unread_pipelines, silent, different_bodies, equal_bodies, long_fields,
        quarantine, readyz, gzipped, local_files, hostile_pictures, heavy_prompts, many_tasks,
    )
}  # fmt: skip


def main() -> None:
    """One attack, until its time is over."""
    name, port, hook, seconds = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    me = Attacker(int(port), hook, float(seconds))
    asyncio.run(ATTACKS[name](me))
    print(json.dumps(me.counts))


if __name__ == "__main__":
    main()
