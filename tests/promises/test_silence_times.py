"""When evidence is looked for and what is left undone until then, by clocks that pass only when nothing else is to be done: the
figures are exact, and minutes cost nothing. Issue 17, lines 2, 3, 5 and 6, on a server of ours without a port.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.errors import NotDurable
from tests.hostile.desk import Trouble
from tests.hostile.inside import Inside
from tests.hostile.manners import Manners
from tests.support.inside import Server, without_logs
from tests.support.virtual import Times, VirtualLoop, clocks_of

TOML = """
[upstreams.main]
url = "http://upstream.test"
key = "sk-1"
dialect = "trueai"
concurrency = 8
timeout_s = 10

[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[rules]]
name = "answer-modal"
on = "submission.needs_modal"
modal = "{{ modal.prompt }} --zoom 1.8"
"""
LOSSES: list[Trouble] = ["lost", "closed", "reset", "502", "504"]


class Site:
    """The server, its upstream, and the clocks of both."""

    def __init__(self, directory: Path, loop: VirtualLoop, times: Times) -> None:
        self._directory, self._loop, self._times = directory, loop, times
        self.upstream: Inside
        self.server: Server

    async def start(self, **manners: Any) -> None:
        """Begin, with manners."""
        self.upstream = Inside(Manners(**manners), self._loop, self._times.true_s)
        self.server = Server(self._directory, self.upstream, TOML)
        await self.server.start()

    async def end(self) -> None:
        """The end of both."""
        await self.server.kill()
        await self.upstream.stop()

    async def imagine(self, prompt: str = "a cat") -> None:
        """Ask for a picture."""
        await self.server.ask("POST", "/api/submissions", {"kind": "imagine", "prompt": prompt})

    async def states(self, kind: str) -> list[str]:
        """The states of all submissions of a kind."""
        found = (await self.server.ask("GET", "/api/submissions?limit=500"))["submissions"]
        return sorted(one["state"] for one in found if one["kind"] == kind)

    async def until(self, question: Callable[[], Coroutine[Any, Any, bool]], within_s: float) -> float:
        """The seconds that pass until this is so."""
        began_s = self._loop.time()
        while not await question():
            assert self._loop.time() - began_s < within_s, "not within the time"
            await asyncio.sleep(0.1)
        return self._loop.time() - began_s


@pytest.fixture
def play(tmp_path: Path, new_database: Path) -> Iterator[Callable[..., None]]:
    """Play a scene in a loop of its own, with manners."""
    times = Times()
    loop = VirtualLoop(times)
    asyncio.set_event_loop(loop)

    def play(scene: Callable[[Site], Coroutine[Any, Any, None]], **manners: Any) -> None:
        async def whole() -> None:
            site = Site(tmp_path, loop, times)
            await site.start(**manners)
            try:
                await scene(site)
            finally:
                await site.end()

        with clocks_of(times), without_logs():
            loop.run_until_complete(whole())

    yield play
    loop.close()
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("how", LOSSES)
def test_a_lost_answer_costs_about_a_second(play: Any, how: Trouble) -> None:
    """Callbacks never come. The list is asked for marks after a second, and shows all four upscales."""

    async def scene(site: Site) -> None:
        site.upstream.next_submit(how, of="action", times=4)
        await site.imagine()

        async def lost() -> bool:
            return len(site.upstream.ledger.paid("upsample")) == 4

        async def found() -> bool:
            return await site.states("action") == ["accepted"] * 4

        await site.until(lost, within_s=60)
        assert await site.until(found, within_s=60) <= 3
        assert site.upstream.ledger.paid_twice() == []

    play(scene, is_silent=True)


@pytest.mark.parametrize("timeouts", [0, 2])
def test_a_killed_process_leaves_requests_that_are_waited_for(play: Any, timeouts: float) -> None:
    """They are taken 24 s after they came, and the list, which is fresh and whole, does not show them before."""

    async def scene(site: Site) -> None:
        await site.imagine("an older cat")
        await asyncio.sleep(120)
        site.upstream.change(registers_late=frozenset({"action"}))
        await site.imagine()
        ledger = site.upstream.ledger
        while len(ledger.came("action")) < 8:
            await asyncio.sleep(0.1)
        await site.server.kill()
        await asyncio.sleep(timeouts)
        await site.server.start()
        await site.imagine("a newer cat")
        await asyncio.sleep(300)
        assert ledger.paid_twice() == []
        assert await site.states("action") == ["accepted"] * 12

    play(scene, registers_after_s=24, registers_late=frozenset())


async def press_custom_zoom(site: Site) -> None:
    """Press Custom Zoom of a picture that others made, of which the hook is told."""
    site.upstream.finished_grid("a stranger's cat", pressed=("U1",))
    [single] = [task for task in site.upstream.shelf.all() if task.action == "UPSCALE"]
    body = {"kind": "press", "task_id": single.id, "button": "Custom Zoom"}
    await site.server.ask("POST", "/api/submissions", body)


def test_a_window_that_was_deleted_proves_nothing_about_the_press_that_was_killed(play: Any) -> None:
    """Its answer met a full queue; the press was repeated, and never came so far when the process was killed."""

    async def scene(site: Site) -> None:
        site.upstream.next_submit("queue full", of="modal")
        site.upstream.next_submit("none", of="action")
        site.upstream.next_submit("unpaid silence", of="action")
        await press_custom_zoom(site)
        while len(site.upstream.ledger.came("action")) < 2:
            await asyncio.sleep(0.1)
        await site.server.kill()
        await site.server.start()
        await asyncio.sleep(200)
        await site.imagine("a newer cat")
        await asyncio.sleep(600)
        assert len(site.upstream.ledger.paid("CustomZoom")) == 1

    play(scene)


def test_a_claim_that_was_committed_unsaid_is_sent_all_the_same(play: Any) -> None:
    """The database took it and the word of that was lost; the process lives, and knows that it never sent it. No list tells."""

    async def scene(site: Site) -> None:
        await site.imagine("an older cat")
        await asyncio.sleep(60)
        unsaid = ["begin_attempt"]

        def lose_the_word(stage: str, name: str) -> None:
            if stage == "after" and name in unsaid and site.upstream.desk.troubles:
                unsaid.remove(name)
                raise NotDurable("the word of the commit was lost")

        site.server.observe(lose_the_word)
        site.upstream.next_submit("none", of="imagine")  # the sign that the next claim is the one
        body = {"kind": "imagine", "prompt": "a cat"}
        with contextlib.suppress(
            AssertionError
        ):  # whoever asked may be told that nobody knows, and asks again
            await site.server.ask("POST", "/api/submissions", body, key="one")
        await site.server.ask("POST", "/api/submissions", body, key="one")
        await asyncio.sleep(120)
        assert unsaid == []
        assert await site.states("imagine") == ["accepted"] * 2
        assert site.upstream.ledger.paid_twice() == []
        assert len(site.upstream.ledger.paid("imagine")) == 2

    play(scene, list_says="404")
