"""Requests whose images are blobs are written piece by piece, and are otherwise like all others."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import httpx
import pytest

from midjourney.blob_texts import Reference
from midjourney.client import Client
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Upstream
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.image_data import LARGEST_BYTES
from midjourney.requests import Blend, Describe, Imagine, Modal
from midjourney.slices import in_slices
from midjourney.tls import trusted
from tests.support.answering import Script, Talk, serving

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90_000)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff" + bytes(100_001)).decode()
ANSWER = b'{"code":1,"description":"","result":"1730000000000001"}'
ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Shelf:
    """Blobs in memory. `reads` counts how often one was begun; `breaks` is called before each piece of the second reading."""

    def __init__(self, *, size: int = 7000) -> None:
        self.texts: dict[Reference, bytes] = {}
        self.reads = 0
        self.breaks: Callable[[], None] | None = None
        self._size = size

    def put(self, text: str) -> str:
        reference = Reference(hashlib.sha256(text.encode()).hexdigest(), len(text.encode()))
        self.texts[reference] = text.encode()
        return str(reference)

    async def pieces(self, reference: Reference) -> AsyncGenerator[bytes]:
        self.reads += 1
        again = self.reads > len(self.texts)
        text = self.texts[reference]
        for at in range(0, len(text), self._size):
            if again and at and self.breaks is not None:
                self.breaks()
            yield text[at : at + self._size]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


Connect = Callable[..., Client]


@pytest.fixture(params=["ours", "httpx"])
async def connect(request: pytest.FixtureRequest, shelf: Shelf) -> AsyncIterator[Connect]:
    """A client over our transport, and over httpx's."""
    made: list[Client] = []

    def connect(url: str, *, has_blobs: bool = True) -> Client:
        other = None if request.param == "ours" else in_slices(httpx.AsyncHTTPTransport(verify=trusted()))
        made.append(
            Client(
                Upstream(url=url),
                DIALECTS[DEFAULT_DIALECT],
                transport=other,
                blobs=shelf if has_blobs else None,
            )
        )
        return made[-1]

    yield connect
    for one in made:
        await one.aclose()


def accepting() -> Script:
    """Takes each request of a connection."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.say(ACCEPTED)

    return script


def body_of(request: bytes) -> dict[str, object]:
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    value: dict[str, object] = json.loads(body)
    return value


async def test_blobs_are_sent_as_they_came(connect: Connect, shelf: Shelf) -> None:
    """A data URL byte for byte, bare base64 behind the beginning of one; the connection serves the next request too."""
    url = f"data:image/png;base64,{PNG}"
    request = Blend(images=(shelf.put(url), shelf.put(JPEG), shelf.put(url)), dimensions="SQUARE")
    async with serving(accepting()) as server:
        client = connect(server.url)
        reply = await client.submit(request, state="mark")
        await client.submit(Imagine(prompt="a cat"))
        assert server.connected == 1
    assert reply.status == 200
    body = body_of(server.requests[0])
    assert body["base64Array"] == [url, f"data:image/jpeg;base64,{JPEG}", url]
    assert (body["dimensions"], body["state"]) == ("SQUARE", "mark")
    assert body_of(server.requests[1])["prompt"] == "a cat"


async def test_a_text_that_needs_escapes_is_escaped(connect: Connect, shelf: Shelf) -> None:
    """A long text in a field that hookchain does not know is the same text at the upstream, at any depth."""
    text = 'a "quoted" line\n\\ \x01 é漢😀' * 3000
    extra = {"note": {"texts": ["short", shelf.put(text)]}, "other": "blob:sha256:" + "0" * 64 + ":1x"}
    async with serving(accepting()) as server:
        await connect(server.url).submit(Imagine(prompt="a cat", extra=extra))
    body = body_of(server.requests[0])
    assert body["note"] == {"texts": ["short", text]}
    assert body["other"] == extra["other"]


async def test_the_name_of_a_blob_in_a_prompt_is_a_text(connect: Connect, shelf: Shelf) -> None:
    """Only images and unknown fields refer to blobs."""
    name = shelf.put(PNG)
    async with serving(accepting()) as server:
        await connect(server.url).submit(Imagine(prompt=name))
    assert body_of(server.requests[0])["prompt"] == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x" * 9001, "neither"),
        ("data:image/png;base64," + "*" * 9000, "neither"),
        ("data:image/png," + PNG, "base64"),
        (base64.b64encode(bytes(9000)).decode(), "PNG, JPEG"),
        (PNG[:9000] + "\n" + PNG[9000:], "neither"),
        (PNG + "A" * (LARGEST_BYTES * 4 // 3), "smaller"),
        (PNG + "===", "neither"),
    ],
)
async def test_what_is_no_image_is_not_sent(connect: Connect, shelf: Shelf, text: str, says: str) -> None:
    """It would be accepted, paid, and fail."""
    async with serving(accepting()) as server:
        with pytest.raises(InvalidRequest, match=says) as refused:
            await connect(server.url).submit(Describe(image=shelf.put(text)))
        assert refused.value.field == "image"
        assert server.connected == 0


async def test_a_mask_must_be_a_png(connect: Connect, shelf: Shelf) -> None:
    async with serving(accepting()) as server:
        with pytest.raises(InvalidRequest, match="mask must be a PNG"):
            await connect(server.url).submit(Modal(task_id="1", mask=shelf.put(JPEG)))
        await connect(server.url).submit(Modal(task_id="1", mask=shelf.put(PNG)))
        assert len(server.requests) == 1


async def test_a_blob_that_is_gone_or_damaged_is_not_sent(connect: Connect, shelf: Shelf) -> None:
    """It is read once before the first byte leaves."""
    async with serving(accepting()) as server:
        missing = Describe(image=f"blob:sha256:{'0' * 64}:9000")
        with pytest.raises(InvalidRequest, match="not stored any more"):
            await connect(server.url).submit(missing)
        with pytest.raises(InvalidRequest, match="none are kept here"):
            await connect(server.url, has_blobs=False).submit(missing)
        name = shelf.put(PNG)
        (reference,) = shelf.texts
        shelf.texts[reference] = PNG.replace("A", "B", 1).encode()
        with pytest.raises(InvalidRequest, match="damaged"):
            await connect(server.url).submit(Describe(image=name))
        assert server.connected == 0


async def test_a_store_that_is_away_means_not_sent(connect: Connect, shelf: Shelf) -> None:
    """The blob may be read in a minute."""
    name = shelf.put(PNG)
    shelf.reads = 1  # so that the first reading breaks, too

    def away() -> None:
        raise OSError("the disk is away")

    shelf.breaks = away
    async with serving(accepting()) as server:
        with pytest.raises(NotSent, match="the disk is away"):
            await connect(server.url).submit(Describe(image=name))
        assert server.connected == 0


async def test_a_blob_that_cannot_be_read_half_way_means_no_answer(connect: Connect, shelf: Shelf) -> None:
    """A part of the request has left, so that nobody can be sure."""

    def away() -> None:
        raise OSError("the disk is away")

    shelf.breaks = away

    async def script(talk: Talk) -> None:
        await talk.until_it_ends()

    name = shelf.put(PNG)
    async with serving(script) as server:
        with pytest.raises(NoAnswer, match="while it was sent"):
            await connect(server.url).submit(Describe(image=name))
        await server.end.wait()
        assert server.connected == 1


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_blob_that_changes_half_way_means_no_answer(
    connect: Connect, shelf: Shelf, change: int
) -> None:
    """Neither a byte more nor one less than was declared is sent."""
    name = shelf.put(PNG)
    pieces = shelf.pieces

    async def longer(reference: Reference) -> AsyncGenerator[bytes]:
        second = shelf.reads > 0
        async for piece in pieces(reference):
            yield piece
        if second and change > 0:
            yield b"A"

    async def shorter(reference: Reference) -> AsyncGenerator[bytes]:
        second = shelf.reads > 0
        async for piece in pieces(reference):
            yield piece[:-1] if second else piece

    shelf.pieces = longer if change > 0 else shorter  # type: ignore[method-assign]

    async def script(talk: Talk) -> None:
        await talk.until_it_ends()

    async with serving(script) as server:
        with pytest.raises(NoAnswer, match="changed while it was sent"):
            await connect(server.url).submit(Describe(image=name))


async def test_a_server_that_breaks_off_means_no_answer(connect: Connect, shelf: Shelf) -> None:
    """It has read a part, and closes."""

    async def script(talk: Talk) -> None:
        await talk.reader.readexactly(20_000)
        talk.writer.transport.abort()

    async with serving(script) as server:
        with pytest.raises(NoAnswer):
            await connect(server.url).submit(Describe(image=shelf.put(PNG)))


async def test_nothing_leaves_that_may_not(connect: Connect, shelf: Shelf) -> None:
    """The last moment is the one before the first byte, as for other requests."""

    async def script(talk: Talk) -> None:
        await talk.until_it_ends()

    async with serving(script) as server:
        with pytest.raises(NotSent):
            await connect(server.url).submit(Describe(image=shelf.put(PNG)), may_leave=lambda: False)
        assert server.requests == []


async def test_a_message_names_the_blob(connect: Connect, shelf: Shelf) -> None:
    """Nobody reads megabytes of base64 in a log."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(
            b'HTTP/1.1 200 OK\r\ncontent-length: 43\r\n\r\n{"code":4,"description":"no","result":null} '
        )

    name = shelf.put(PNG)
    async with serving(script) as server:
        reply = await connect(server.url).submit(Describe(image=name))
    assert name in reply.message
    assert len(reply.message) < 500
