"""Async receivers of plugins run in a loop of their plugin's: one that blocks freezes nothing but that."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.plugin_loop import PluginLoop, Run
from dispatcher.plugins.running import for_other_loops
from hookchain import receiver, task_failed, task_started, task_succeeded
from midjourney.dialects import DIALECTS
from tests.conftest import PATIENCE_S


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths, and backoff hundredths."""
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda attempt, **_: 0.01)
    for name, short in (("BLOCKED_S", 0.1), ("MOVE_ON_S", 0.2), ("TIDY_S", 0.2)):
        monkeypatch.setattr(f"dispatcher.plugins.running.{name}", short)


@pytest.fixture
def blocked() -> Iterator[threading.Event]:
    """What blocks, until it is set: at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def of_another_plugin(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__module__ = "another_plugin.receivers"
    return function


async def test_a_receiver_that_blocks_holds_back_nobody_and_is_named(
    bench: Any, blocked: threading.Event
) -> None:
    """Rules, another plugin, and in the end what its own plugin has to hear as well go on while it blocks."""
    bench.rules('[[rules]]\nname = "press"\non = "task.succeeded"\npress = "U1"\n')
    heard: list[str] = []

    @task_succeeded.connect
    @receiver(timeout_s=60)
    async def blocks(action: str, **_: Any) -> None:
        blocked.wait(PATIENCE_S)

    @task_succeeded.connect
    @of_another_plugin
    async def other(action: str, **_: Any) -> None:
        heard.append("another plugin's")

    @task_succeeded.connect
    async def same_plugin(action: str, **_: Any) -> None:
        heard.append("the same plugin's, of the same event")

    @task_failed.connect
    async def same_plugin_later(action: str, **_: Any) -> None:
        heard.append("the same plugin's, later")

    async def heard_by_all() -> bool:
        return len(heard) == 3

    await bench.start()
    with capture_logs() as logs:
        await bench.callback()
        await bench.until_states("accepted")
        await bench.callback("failed", status="FAILURE")
        await bench.until(heard_by_all)
    assert not blocked.is_set()
    (told,) = [one for one in logs if one["event"].startswith("receiver blocks")]
    assert told["receiver"].endswith("blocks")
    assert told["plugin"] == "tests"
    assert "threading.py" in told["at"]
    blocked.set()
    await bench.until_quiet()
    assert {one.state for one in await bench.deliveries()} == {"done"}


async def test_a_blocked_receivers_time_is_up_and_the_worker_stops_all_the_same(
    bench: Any, blocked: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run goes on, which counts, and nobody waits for it."""
    monkeypatch.setattr("dispatcher.plugins.running.END_WITHIN_S", 0.2)

    @task_succeeded.connect
    @receiver(timeout_s=0.1, attempts=1)
    async def blocks(action: str, **_: Any) -> None:
        blocked.wait(PATIENCE_S)

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert delivery.state == "dead"
    assert "TimeoutError" in delivery.error
    began_s = time.monotonic()
    with capture_logs() as logs:
        await bench.stop()
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert [one["plugin"] for one in logs if one["event"].startswith("a plugin does not stop")] == ["tests"]


@pytest.mark.parametrize("plain", [False, True])
async def test_runs_that_hang_take_the_places_of_their_receiver_and_of_no_other(
    bench: Any, blocked: threading.Event, plain: bool
) -> None:
    """It gets no more threads than it may have runs: the next delivery waits until one has ended."""
    begun: list[str] = []

    def hangs(action: str, *, task: Any, **_: Any) -> None:
        begun.append(task.id)
        blocked.wait(PATIENCE_S)

    async def hangs_too(action: str, *, task: Any, **_: Any) -> None:
        hangs(action, task=task)

    options = receiver(timeout_s=0.05, attempts=1, concurrency=1)
    task_succeeded.connect(options(hangs if plain else hangs_too), weak=False)
    works: list[str] = []

    @task_succeeded.connect
    @of_another_plugin
    async def other(action: str, *, task: Any, **_: Any) -> None:
        works.append(task.id)

    async def one_is_dead() -> bool:
        return any(one.state == "dead" for one in await bench.deliveries())

    async def other_has_heard() -> bool:
        return len(works) == 2

    await bench.start()
    with capture_logs() as logs:
        await bench.callback("first")
        await bench.until(one_is_dead)
        await bench.callback("second")
        await bench.until(other_has_heard)
    assert begun == ["first"]
    assert any(one["event"].startswith("receiver hangs") for one in logs)
    blocked.set()
    await bench.until_quiet()
    assert begun == ["first", "second"]


async def test_a_time_out_shows_where_the_receiver_was(bench: Any) -> None:
    """It is cancelled, tidies up, and its traceback is kept."""
    tidied: list[bool] = []

    @task_succeeded.connect
    @receiver(timeout_s=0.05, attempts=1)
    async def waits(action: str, **_: Any) -> None:
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            tidied.append(True)

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert "did not end within 0.05 s" in delivery.error
    assert "in waits" in delivery.error
    assert tidied == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_task_of_a_plugin_that_wants_the_process_to_end_ends_nothing(
    bench: Any, error: type[BaseException]
) -> None:
    """Not even the plugin's own loop, in which the next event is heard."""
    heard: list[str] = []

    async def ends() -> None:
        raise error

    @task_succeeded.connect
    async def starts(action: str, *, task: Any, **_: Any) -> None:
        background = asyncio.create_task(ends())
        await asyncio.wait([background])
        background.exception()
        heard.append(task.id)

    await bench.start()
    await bench.callback("first")
    await bench.callback("second")
    await bench.until_quiet()
    assert sorted(heard) == ["first", "second"]


async def test_a_loop_ends_what_runs_even_if_a_task_wants_the_process_to_end_at_that_moment() -> None:
    """The run has been cancelled, and has not heard of it yet, when the loop is thrown out of its course."""

    def exits() -> None:
        raise SystemExit

    def end() -> None:
        own.end()
        own.loop.call_soon(own.loop.call_soon, exits)

    own = PluginLoop("plugin")
    run = Run("receiver", asyncio.Event().wait)
    own.take(run)
    await run.begun.wait()
    own.loop.call_soon_threadsafe(end)
    async with asyncio.timeout(PATIENCE_S):
        await own.ended
        await asyncio.wait([run.ended])


async def test_receivers_of_a_plugin_share_a_loop_and_what_belongs_to_it(bench: Any) -> None:
    """A lock, a client: made by whoever runs first, used by all, and there for the next event."""
    loops: list[asyncio.AbstractEventLoop] = []
    lock = asyncio.Lock()

    async def uses() -> None:
        async with lock:
            await asyncio.sleep(0)
            loops.append(asyncio.get_running_loop())

    @task_succeeded.connect
    async def one(action: str, **_: Any) -> None:
        await asyncio.gather(uses(), uses())

    @task_succeeded.connect
    async def two(action: str, **_: Any) -> None:
        await asyncio.gather(uses(), uses())

    await bench.start()
    for number in range(5):
        await bench.callback(str(number))
    await bench.until_quiet()
    assert len(loops) == 20
    assert len(set(loops)) == 1
    assert asyncio.get_running_loop() not in loops


async def test_what_a_chain_asks_of_the_upstream_is_asked_in_our_own_loop() -> None:
    """The connections belong to it; a receiver elsewhere waits for the answer, and may be cancelled."""
    asked: list[object] = []

    async def refresh(task_id: str) -> str:
        asked.append(asyncio.get_running_loop())
        return f"https://cdn/{task_id}.png"

    place = for_other_loops(
        {"main": UpstreamHandle(name="main", dialect=DIALECTS["trueai"], refresh=refresh)}
    )["main"]
    assert place.refresh is not None
    own = PluginLoop("a plugin")
    found: list[str] = []

    async def work() -> None:
        found.append(await place.refresh("grid"))  # type: ignore[misc]  # it is not None, as was seen

    run = Run("a receiver", work)
    own.take(run)
    await asyncio.wait_for(run.ended, PATIENCE_S)
    assert found == ["https://cdn/grid.png"]
    assert asked == [asyncio.get_running_loop()]
    own.end()
    await asyncio.wait_for(own.ended, PATIENCE_S)


async def test_a_run_sees_the_context_that_it_was_made_in() -> None:
    """As a task would; what it changes is its own."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    async def work() -> None:
        seen.append(who.get())
        who.set("somebody else")

    own = PluginLoop("a plugin")
    who.set("the caller")
    for _ in range(2):
        run = Run("a receiver", work)
        own.take(run)
        await asyncio.wait_for(run.ended, PATIENCE_S)
    assert seen == ["the caller", "the caller"]
    assert who.get() == "the caller"
    own.end()
    await asyncio.wait_for(own.ended, PATIENCE_S)


async def test_a_loop_that_ends_lets_what_runs_tidy_up(bench: Any) -> None:
    """At the stop of the process, tasks that nobody awaits as well."""
    tidied: list[str] = []
    begun = threading.Event()

    async def background() -> None:
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            tidied.append("background")

    kept: set[asyncio.Task[None]] = set()

    @task_started.connect
    async def starts(action: str, **_: Any) -> None:
        kept.add(asyncio.create_task(background()))
        await asyncio.sleep(0)
        begun.set()

    await bench.start()
    await bench.callback(status="IN_PROGRESS", progress="0%")
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    await bench.until_quiet()
    await bench.stop()
    assert tidied == ["background"]


async def test_what_came_together_with_one_that_blocks_can_go_elsewhere(blocked: threading.Event) -> None:
    """Its time has not begun: it had no step yet. Where it has gone, it runs once."""
    own, other = PluginLoop("a plugin"), PluginLoop("a plugin")
    held = threading.Event()
    ran: list[str] = []

    async def blocks() -> None:
        blocked.wait(PATIENCE_S)

    async def works() -> None:
        ran.append("once")

    own.loop.call_soon_threadsafe(held.wait, PATIENCE_S)  # so that both begin in one turn of the loop
    first, second = Run("blocks", blocks), Run("works", works)
    own.take(first)
    own.take(second)
    held.set()
    await asyncio.wait_for(first.begun.wait(), PATIENCE_S)
    assert own.release_waiting() == [second]
    other.take(second)
    await asyncio.wait_for(second.ended, PATIENCE_S)
    blocked.set()
    await asyncio.wait_for(first.ended, PATIENCE_S)
    for loop in (own, other):
        loop.end()
        await asyncio.wait_for(loop.ended, PATIENCE_S)
    assert ran == ["once"]


async def test_a_run_that_went_elsewhere_has_its_step_where_it_was(blocked: threading.Event) -> None:
    """While it runs in the other loop. Two threads cannot be in one context: one of the steps would be lost."""
    own, other = PluginLoop("a plugin"), PluginLoop("a plugin")
    held, passed = threading.Event(), threading.Event()
    errors: list[Any] = []
    own.loop.set_exception_handler(lambda _, error: errors.append(error))

    async def blocks() -> None:
        blocked.wait(PATIENCE_S)

    async def works() -> None:
        blocked.set()
        own.loop.call_soon_threadsafe(passed.set)  # after its step there
        passed.wait(PATIENCE_S)

    own.loop.call_soon_threadsafe(held.wait, PATIENCE_S)  # so that both begin in one turn of the loop
    first, second = Run("blocks", blocks), Run("works", works)
    own.take(first)
    own.take(second)
    held.set()
    await asyncio.wait_for(first.begun.wait(), PATIENCE_S)
    own.release_waiting()
    other.take(second)
    await asyncio.wait_for(asyncio.gather(first.ended, second.ended), PATIENCE_S)
    for loop in (own, other):
        loop.end()
        await asyncio.wait_for(loop.ended, PATIENCE_S)
    assert errors == []


async def test_a_run_that_is_cancelled_before_its_first_step_ends() -> None:
    """Nobody waits for it for ever, nor does the loop count it."""
    own = PluginLoop("a plugin")
    held = threading.Event()

    async def never() -> None:
        raise AssertionError

    own.loop.call_soon_threadsafe(held.wait, PATIENCE_S)
    run = Run("never", never)
    own.take(run)
    run.cancel()
    held.set()
    await asyncio.wait([run.ended], timeout=PATIENCE_S)
    assert run.ended.cancelled()
    assert not own.runs
    own.end()
    await asyncio.wait_for(own.ended, PATIENCE_S)
