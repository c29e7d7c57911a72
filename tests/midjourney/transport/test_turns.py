"""No server blocks the event loop, nor fills the memory: others have their turn between slices, and what nobody takes is not read."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from midjourney.bounded import HEAD_BYTES, BadAnswer, Bounds, exchange
from midjourney.slices import SLICE_BYTES
from midjourney.steps import Steps, at_once
from midjourney.transport.answers import Answers
from tests.hostile.web import ATTACKS, HostileWeb, hostile_web
from tests.midjourney.transport.conftest import Make
from tests.support.answering import Talk, serving

BOUNDS = Bounds(sent_bytes=1_000_000, unpacked_bytes=1_000_000, within_s=60)
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileWeb]:
    """A server that means harm."""
    with hostile_web() as web:
        yield web


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes parsed in each turn of the event loop."""
    turns, feed = [0], Answers.feed

    def counted(answers: Answers, data: memoryview) -> httpx.RemoteProtocolError | None:
        turns[-1] += len(data)
        return feed(answers, data)

    monkeypatch.setattr(Answers, "feed", counted)
    return turns


async def _others(turns: list[int]) -> None:
    """Somebody else, who wants a turn of the loop as often as there is one."""
    while True:
        turns.append(0)
        await asyncio.sleep(0)


async def _taken(make: Make, url: str, parsed: list[int], trusts: Path | None = None) -> None:
    """Read an answer beside others."""
    others = asyncio.create_task(_others(parsed))
    try:
        await exchange(make(trusts).handle_async_request, httpx.Request("GET", url), BOUNDS)
    finally:
        others.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await others


@pytest.mark.parametrize(
    "attack", ["one byte chunks", "chunk extensions", "flood of hints", "endless", "long id", "bomb"]
)
async def test_an_answer_leaves_turns_to_others(
    hostile: HostileWeb, make: Make, parsed: list[int], attack: str
) -> None:
    """A slice in a turn, and an end."""
    with pytest.raises(BadAnswer, match="more than"):
        await _taken(make, hostile.url_of(attack), parsed)
    assert max(parsed) <= SLICE_BYTES
    if attack == "flood of hints":
        assert sum(parsed) <= HEAD_BYTES + SLICE_BYTES


async def test_an_encrypted_answer_leaves_turns_too(
    make: Make, parsed: list[int], certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """A record has 16 kB."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(HEAD, *[b"1\r\nx\r\n" * 10_000] * 20)

    async with serving(script, tls=tls) as server:
        with pytest.raises(BadAnswer, match="more than"):
            await _taken(make, server.url.replace("127.0.0.1", "localhost"), parsed, certificate[0])
    assert max(parsed) <= SLICE_BYTES


def test_the_attacks_are_those_of_everybody() -> None:
    """`tests/midjourney/test_bounded.py` makes each of them against the client, which sends over this transport."""
    assert {"one byte chunks", "flood of hints", "drip", "early hints"} <= set(ATTACKS)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_what_nobody_takes_is_not_read(
    make: Make, encrypted: bool, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """The server waits with the rest of its 20 MB. Read on, it arrives to the last byte."""
    received: list[int] = []
    size, stuck = 20_000_000, asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        talk.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            talk.writer.write(b"x" * 100_000)
            if not stuck.is_set() and received and talk.writer.transport.get_write_buffer_size() > 1_000_000:
                stuck.set()
            if stuck.is_set():
                await talk.writer.drain()
            await asyncio.sleep(0)

    async with serving(script, tls=tls if encrypted else None) as server:
        steps = Steps(leaving=at_once, written=at_once, received=received.append)
        request = httpx.Request(
            "GET", server.url.replace("127.0.0.1", "localhost"), extensions={"trace": steps}
        )
        response = await make(certificate[0]).handle_async_request(request)
        await stuck.wait()
        assert sum(received) <= 3 * SLICE_BYTES
        assert len(await response.aread()) == size


async def test_slow_readers_do_not_slow_others(make: Make) -> None:
    """Each connection has slices of its own."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000)

    transport = make()
    async with serving(script) as server:
        slow = await transport.handle_async_request(httpx.Request("GET", server.url))
        for _ in range(3):
            quick = await transport.handle_async_request(httpx.Request("GET", server.url))
            assert len(await quick.aread()) == 100_000
        assert len(await slow.aread()) == 100_000
        assert server.connected == 2
        await transport.aclose()
