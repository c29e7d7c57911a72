"""Work done once for many: as much at a time as may be, and no more in line than there is room for."""

from __future__ import annotations

import asyncio

import pytest

from hooks.images.flights import Busy, Flights


class Work:
    """Ends when it is let; tells how much of it is under way."""

    def __init__(self) -> None:
        self.started = 0
        self.may_end = asyncio.Event()
        self.has_started = asyncio.Event()

    async def run(self) -> int:
        self.started += 1
        self.has_started.set()
        await self.may_end.wait()
        return self.started


def flights(**limits: int | float) -> Flights[int]:
    given = {"concurrent": 1, "queued": 1, "waiters": 10, "queue_timeout_s": 10.0} | limits
    return Flights(
        concurrent=int(given["concurrent"]),
        queued=int(given["queued"]),
        waiters=int(given["waiters"]),
        queue_timeout_s=given["queue_timeout_s"],
    )


async def test_those_who_ask_together_share_one_answer() -> None:
    """Also one that is an error; those who ask later have their own."""
    made, work = flights(), Work()
    asked = [asyncio.create_task(made.join("a", work.run)) for _ in range(5)]
    await work.has_started.wait()
    work.may_end.set()
    assert await asyncio.gather(*asked) == [1] * 5
    assert await made.join("a", work.run) == 2

    async def fail() -> int:
        raise KeyError("a")

    found = await asyncio.gather(*(made.join("b", fail) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [KeyError] * 3


async def test_a_wait_in_line_ends() -> None:
    """What hangs at the front does not keep the others for ever."""
    made, work = flights(queue_timeout_s=0.05), Work()
    first = asyncio.create_task(made.join("a", work.run))
    await work.has_started.wait()
    with pytest.raises(Busy, match=r"within 0\.05 s"):
        await made.join("b", work.run)
    work.may_end.set()
    assert await first == 1
    assert await made.join("b", work.run) == 2


async def test_even_those_who_wait_for_the_same_are_so_many() -> None:
    """Each is a request that is held."""
    made, work = flights(waiters=3), Work()
    asked = [asyncio.create_task(made.join("a", work.run)) for _ in range(3)]
    await work.has_started.wait()
    with pytest.raises(Busy):
        await made.join("a", work.run)
    work.may_end.set()
    assert await asyncio.gather(*asked) == [1, 1, 1]


async def test_one_who_leaves_takes_nothing_with_him() -> None:
    """The others get their answer, and his place is free."""
    made, work = flights(waiters=2), Work()
    asked = [asyncio.create_task(made.join("a", work.run)) for _ in range(2)]
    await work.has_started.wait()
    asked[0].cancel()
    await asyncio.wait([asked[0]])
    assert made.waiters == 1
    work.may_end.set()
    assert await asked[1] == 1
    assert made.waiters == 0


async def test_closing_ends_what_is_under_way() -> None:
    """And what waits."""
    made, work = flights(), Work()
    asked = [asyncio.create_task(made.join(key, work.run)) for key in "ab"]
    await work.has_started.wait()
    await made.aclose()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError] * 2
    assert work.started == 1
