"""Compressed callbacks: inflated with a bound, whatever is sent; corrupt and unsupported ones are told why."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from hooks.http.encoding import PIECE_BYTES, decoded
from hooks.problems import Problem

BODY = json.dumps({"id": "1", "status": "SUCCESS", "progress": "100%", "prompt": "a cat " * 100}).encode()
LIMIT = 1_000_000


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
}


class Wire:
    """A `receive` that gives parts, and counts them."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._next: bytes | None = next(self._parts, b"")
        self.taken = 0

    async def __call__(self) -> Message:
        part, self._next = self._next, next(self._parts, None)
        self.taken += 1
        return {"type": "http.request", "body": part, "more_body": self._next is not None}


async def read(wire: Wire, *encodings: str, limit: int = LIMIT) -> bytes:
    """What the hook reads: until the end, or until there is more than the limit."""
    receive = decoded(wire, [(b"content-encoding", one.encode()) for one in encodings], limit)
    body: bytes = b""
    while True:
        message = await receive()
        assert len(message["body"]) <= max(PIECE_BYTES, limit)
        body += message["body"]
        if not message["more_body"] or len(body) > limit:
            return body


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


@given(
    st.binary(max_size=5000) | st.binary(max_size=20).map(lambda one: one * 20_000),
    st.lists(st.sampled_from(["gzip", "deflate", "raw"]), min_size=1, max_size=3),
    st.integers(1, 5000),
)
def test_what_was_compressed_is_what_is_read(data: bytes, chain: list[str], size: int) -> None:
    """Any bytes, any chain of up to three encodings, cut into any parts."""
    packed = data
    for one in chain:
        packed = (PACK | {"raw": raw})[one](packed)
    told = ", ".join("deflate" if one == "raw" else one for one in chain)
    assert asyncio.run(read(Wire(pieces(packed, size)), told)) == data


async def test_members_of_gzip_are_read_one_after_the_other() -> None:
    """As `cat a.gz b.gz` makes them; empty ones too, and cut anywhere."""
    packed = gzip.compress(BODY[:50]) + gzip.compress(b"") + gzip.compress(BODY[50:])
    for size in (1, 7, len(packed)):
        assert await read(Wire(pieces(packed, size)), "gzip") == BODY


async def test_what_a_full_piece_leaves_inside_is_read_too() -> None:
    """zlib may have taken all input while it still holds output."""
    for size in range(PIECE_BYTES - 2, PIECE_BYTES + 300):
        assert len(await read(Wire([raw(b"a" * size)]), "deflate")) == size


async def test_words_that_change_nothing_are_no_encodings() -> None:
    """`identity`, an empty header, and the charset, which some senders put there."""
    for told in ("", "identity", "UTF-8", " , utf8"):
        assert await read(Wire([BODY]), told) == BODY


async def test_a_proxy_may_have_inflated_the_body_and_left_the_header() -> None:
    """JSON is not gzip: no reading but one is possible."""
    for body in (BODY, b"[1]", b'"x"', b"\xef\xbb\xbf" + BODY):
        assert await read(Wire(pieces(body, 10)), "gzip") == body


_GZIPPED = gzip.compress(BODY, mtime=0)
"""With a time of its own, each worker would have tests of other names."""


@pytest.mark.parametrize(
    ("told", "body", "reason"),
    [
        ("gzip", _GZIPPED[:-1], "its end is missing"),
        ("gzip", _GZIPPED[:5], "its end is missing"),
        ("gzip", b"", "its end is missing"),
        ("gzip", _GZIPPED + b"garbage", "not valid gzip"),
        ("gzip", _GZIPPED + b"\0\0", "not valid gzip"),
        ("gzip", _GZIPPED + b"\x1f\x8b", "its end is missing"),
        ("gzip", b"<html>", "not valid gzip"),
        ("gzip", _GZIPPED[:-5] + b"00000", "not valid gzip"),
        ("deflate", zlib.compress(BODY)[:-1], "its end is missing"),
        ("deflate", zlib.compress(BODY) + b"garbage", "after its end"),
        ("deflate", raw(BODY)[:-1], "its end is missing"),
        ("deflate", raw(BODY) + b"garbage", "after its end"),
        ("deflate", b"x", "its end is missing"),
        ("deflate", b"\xff\xff\xff", "not valid deflate"),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY)[:-1], mtime=0), "The deflate body is truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
async def test_a_corrupt_body_is_400(told: str, body: bytes, reason: str) -> None:
    """Cut, with garbage behind it, or not what its header says; whichever way it is cut into parts."""
    for size in (1, len(body) or 1):
        with pytest.raises(Problem, match=reason) as problem:
            await read(Wire(pieces(body, size)), told)
        assert problem.value.status == 400


@pytest.mark.parametrize(
    "told", ["br", "zstd", "compress", "gzip, br", "secret-" * 20, "gzip,gzip,gzip,gzip"]
)
async def test_an_unsupported_encoding_is_415_and_names_those_that_are(told: str) -> None:
    """Before anything is read."""
    wire = Wire([BODY])
    with pytest.raises(Problem) as problem:
        await read(wire, told)
    assert (problem.value.status, problem.value.headers["accept-encoding"], wire.taken) == (
        415,
        "gzip, deflate",
        0,
    )
    assert "secret-" * 20 not in str(problem.value)


def bomb(size: int) -> bytes:
    return gzip.compress(b"a" * size)


async def test_a_bomb_ends_at_the_limit_and_nothing_more_is_read() -> None:
    """100 MB in 100 kB: inflated up to a limit of 1 MB, in little memory, from a tenth of what was sent."""
    wire = Wire(pieces(bomb(100_000_000), 1000))
    tracemalloc.start()
    body = await read(wire, "gzip")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert LIMIT < len(body) <= LIMIT + PIECE_BYTES
    assert (wire.taken < 10, most < 10 * LIMIT) == (True, True)


async def test_a_body_is_bounded_between_two_encodings() -> None:
    """Small at both ends: a thousand empty members, compressed again."""
    inner = gzip.compress(b"") * 100_000
    wire = Wire(pieces(gzip.compress(inner), 1000))
    with pytest.raises(Problem) as problem:
        await read(wire, "gzip, gzip")
    assert problem.value.status == 413


async def test_nothing_that_goes_on_for_ever_is_read_for_ever() -> None:
    """Empty members inflate to nothing: the limit holds for what is sent too."""

    def endless() -> Iterable[bytes]:
        while True:
            yield gzip.compress(b"") * 1000

    wire = Wire(endless())
    with pytest.raises(Problem) as problem:
        await read(wire, "gzip")
    assert (problem.value.status, wire.taken < 100) == (413, True)


@pytest.mark.parametrize("told", PACK)
async def test_a_compressed_callback_is_kept_as_it_was_before(site: Any, told: str) -> None:
    """Over the whole application."""
    answer = await site.http.post(site.hook, content=PACK[told](BODY), headers={"content-encoding": told})
    assert answer.status_code == 200, answer.text
    (event,) = (await site.http.get("/api/events")).json()["events"]
    assert (event["task_id"], event["payload"]) == ("1", json.loads(BODY))


async def test_a_compressed_callback_that_is_refused_is_told_why(site: Any) -> None:
    """415 with what is supported, 400, and 413 for more than the limit, also where it has no length."""
    answer = await site.http.post(site.hook, content=BODY, headers={"content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert "br is not supported" in answer.json()["detail"]
    cut = gzip.compress(BODY)[:-3]
    answer = await site.http.post(site.hook, content=cut, headers={"content-encoding": "gzip"})
    assert (answer.status_code, "truncated" in answer.json()["detail"]) == (400, True)

    async def parts() -> AsyncIterator[bytes]:
        for piece in pieces(bomb(20_000_000), 1000):
            yield piece

    answer = await site.http.post(site.hook, content=parts(), headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
