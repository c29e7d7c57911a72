"""While an answer is read others have their turn, however many pieces the server cuts it into.

httpx has no door for the backend that reads in slices. When one of these fails with a new httpx, look for where it makes its
connections (`midjourney.slices.in_slices`), then raise its upper bound in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import h11
import httpx
import pytest

from midjourney.bounded import HEAD_BYTES, BadAnswer, Bounds, exchange
from midjourney.slices import SLICE_BYTES, Backend, in_slices
from tests.hostile.web import HostileWeb, hostile_web

BOUNDS = Bounds(sent_bytes=4_000_000, unpacked_bytes=4_000_000, within_s=60)


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileWeb]:
    """A server that means harm."""
    with hostile_web() as web:
        yield web


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps h11 has taken, in each turn of the event loop."""
    taken, following = [0], h11.Connection.next_event

    def next_event(connection: h11.Connection) -> Any:
        taken[-1] += 1
        return following(connection)

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    return taken


async def _turns(steps: list[int]) -> None:
    """Somebody else, who wants a turn of the loop as often as there is one."""
    while True:
        steps.append(0)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("attack", "most_in_a_turn", "most_in_all"),
    [("one byte chunks", 50, 1_100), ("flood of hints", SLICE_BYTES // 30, HEAD_BYTES // 30)],
)
async def test_an_answer_leaves_turns_to_others(
    hostile: HostileWeb, steps: list[int], attack: str, most_in_a_turn: int, most_in_all: int
) -> None:
    """A flood of chunks, or of answers before the answer, ends after a thousand steps, with few of them in one turn."""
    others = asyncio.create_task(_turns(steps))
    async with in_slices(httpx.AsyncClient(trust_env=False)) as http:
        request = http.build_request("GET", hostile.url_of(attack))
        with pytest.raises(BadAnswer, match="more than"):
            await exchange(partial(http.send, stream=True), request, BOUNDS)
    others.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await others
    assert max(steps) <= most_in_a_turn
    assert 500 < sum(steps) <= most_in_all


async def test_every_connection_of_a_client_is_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those through a proxy too."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    async with in_slices(httpx.AsyncClient()) as http:
        transports: list[Any] = [http._transport, *(one for one in http._mounts.values() if one)]
        assert len(transports) == 2
        assert all(isinstance(one._pool._network_backend, Backend) for one in transports)
    transport: Any = in_slices(httpx.AsyncHTTPTransport())
    assert isinstance(transport._pool._network_backend, Backend)
