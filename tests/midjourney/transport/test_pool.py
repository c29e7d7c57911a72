"""Connections are lent in order of arrival, in a bounded number, and none is lost."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.midjourney.transport.conftest import Make
from tests.support.answering import OK, Script, Talk, answering, ask, serving

SOON_S = 30.0
"""Without a limit, a slot that is lost would keep a test waiting for ever."""


class Gate:
    """A server that answers when it is opened, and notes how many requests it holds."""

    def __init__(self) -> None:
        self.open, self.arrived, self.held, self.most = asyncio.Event(), asyncio.Condition(), 0, 0

    async def script(self, talk: Talk) -> None:
        """Hold each request."""
        while True:
            await talk.request()
            self.held += 1
            self.most = max(self.most, self.held)
            async with self.arrived:
                self.arrived.notify_all()
            await self.open.wait()
            self.held -= 1
            await talk.say(OK)

    async def holds(self, count: int) -> None:
        """Wait until so many are held."""
        async with asyncio.timeout(SOON_S), self.arrived:
            await self.arrived.wait_for(lambda: self.held >= count)


async def settled() -> None:
    """Let all tasks go on as far as they can without the network."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_connections_than_allowed(make: Make) -> None:
    """The others wait, and are served in order of arrival."""
    gate, transport = Gate(), make(max_connections=3)
    async with serving(gate.script) as server:
        asked = [asyncio.create_task(ask(transport, f"{server.url}/{number}")) for number in range(12)]
        await gate.holds(3)
        gate.open.set()
        await asyncio.gather(*asked)
        await transport.aclose()
    assert (gate.most, server.connected) == (3, 3)
    numbers = [int(request.split(b" ")[1][1:]) for request in server.requests]
    assert all(abs(number - place) < 3 for place, number in enumerate(numbers)), numbers


async def test_whoever_leaves_the_line_takes_nothing_with_them(make: Make) -> None:
    """Those who wait may be cancelled, or run out of time, also at the moment when their turn comes."""
    gate, transport = Gate(), make(max_connections=1)
    async with serving(gate.script) as server:
        first = asyncio.create_task(ask(transport, server.url))
        await gate.holds(1)
        late = asyncio.create_task(ask(transport, server.url, timeout={"pool": 0.0}))
        others = [asyncio.create_task(ask(transport, server.url)) for _ in range(6)]
        with pytest.raises(httpx.PoolTimeout):
            await late
        others[0].cancel()
        await settled()
        gate.open.set()
        ended = await asyncio.gather(first, *others, return_exceptions=True)
        assert [isinstance(one, BaseException) for one in ended] == [False, True] + [False] * 5
        await transport.aclose()


async def test_a_slot_that_comes_too_late_goes_on(make: Make) -> None:
    """Whoever waited for it is cancelled before they learn that it is theirs."""
    transport = make(max_connections=1)
    async with serving(answering(OK)) as server:
        first = await transport.handle_async_request(httpx.Request("GET", server.url))
        second, third = (asyncio.create_task(ask(transport, server.url)) for _ in range(2))
        await settled()
        await first.aclose()
        second.cancel()
        async with asyncio.timeout(SOON_S):
            assert (await third)[2] == b"ok"
        assert second.cancelled()
        await transport.aclose()


async def test_a_cancelled_request_ends_its_connection(make: Make) -> None:
    """Its answer would be taken for another's."""
    gate, transport = Gate(), make(max_connections=1)

    async def script(talk: Talk) -> None:
        await talk.request()
        gate.held += 1
        async with gate.arrived:
            gate.arrived.notify_all()
        await talk.until_it_ends()

    async with serving(script) as server:
        for number in range(3):
            asked = asyncio.create_task(ask(transport, server.url))
            await gate.holds(number + 1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        await transport.aclose()
        while server.ended < 3:
            await server.end.wait()
            server.end.clear()
    assert server.connected == 3


@pytest.mark.parametrize(("read", "connected"), [(False, 2), (True, 1)])
async def test_an_answer_that_is_not_read_ends_its_connection(make: Make, read: bool, connected: int) -> None:
    """Unless it has arrived to its end."""
    transport = make()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 if read else 3)
    async with serving(answering(head + b"ok")) as server:
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        await response.aclose()
        await (await transport.handle_async_request(httpx.Request("GET", server.url))).aclose()
        assert server.connected == connected


async def test_idle_connections_are_few(make: Make) -> None:
    """The others are closed when their request has been answered."""
    gate, transport = Gate(), make(max_keepalive_connections=2)
    async with serving(gate.script) as server:
        for connected in (4, 6):
            asked = [asyncio.create_task(ask(transport, server.url)) for _ in range(4)]
            await gate.holds(4)
            gate.open.set()
            await asyncio.gather(*asked)
            gate.open.clear()
            assert server.connected == connected
        await transport.aclose()


async def test_idle_connections_end_by_themselves(make: Make) -> None:
    """Whether anybody asks or not."""
    gate, transport = Gate(), make(keepalive_expiry=0.1)
    async with serving(_ended(gate)) as server:
        asked = [asyncio.create_task(ask(transport, server.url)) for _ in range(4)]
        await gate.holds(4)
        gate.open.set()
        await asyncio.gather(*asked)
        while server.ended < 4:
            await server.end.wait()
            server.end.clear()
        assert (await ask(transport, server.url))[2] == b"ok"
        assert server.connected == 5
        await transport.aclose()


def _ended(gate: Gate) -> Script:
    async def script(talk: Talk) -> None:
        try:
            await gate.script(talk)
        except asyncio.IncompleteReadError:
            await talk.until_it_ends()

    return script


async def test_the_newest_connection_is_used_first(make: Make) -> None:
    """So that few are used often, and the others may end."""
    used: list[int] = []
    ready = asyncio.Semaphore(0)

    async def script(talk: Talk) -> None:
        number = server.connected
        while True:
            await talk.request()
            used.append(number)
            if len(used) <= 2:
                await ready.acquire()
            await talk.say(OK)

    transport = make()
    async with serving(script) as server:
        both = [asyncio.create_task(ask(transport, server.url)) for _ in range(2)]
        while len(used) < 2:
            await asyncio.sleep(0)
        ready.release()
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        ready.release()
        await asyncio.gather(*both)
        for _ in range(3):
            await ask(transport, server.url)
        assert len(set(used[2:])) == 1
        assert used[2] == used[1]
        await transport.aclose()


async def test_an_idle_connection_makes_room_for_another_server(make: Make) -> None:
    """The bound holds for all servers together."""
    transport = make(max_connections=1)
    async with serving(answering(OK)) as one, serving(answering(OK)) as other:
        for _ in range(2):
            for server in (one, other):
                assert (await ask(transport, server.url))[2] == b"ok"
        assert (one.connected, other.connected) == (2, 2)
        await transport.aclose()


async def test_closing_ends_all(make: Make) -> None:
    """Those in use, those that are idle; who waits learns that nothing was sent, and so does who comes later."""
    gate, transport = Gate(), make(max_connections=1)
    async with serving(gate.script) as server:
        first, second = (asyncio.create_task(ask(transport, server.url)) for _ in range(2))
        await gate.holds(1)
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await first
        with pytest.raises(httpx.ConnectError):
            await second
        with pytest.raises(httpx.ConnectError):
            await ask(transport, server.url)


async def test_closing_does_not_complete_an_answer(make: Make) -> None:
    """One that ends with its connection would seem whole."""
    transport = make()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await talk.until_it_ends()

    async with serving(script) as server:
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        body = asyncio.create_task(response.aread())
        await settled()
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await body
