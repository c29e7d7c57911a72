"""Receivers run once per event, each alone; what they ask for is kept with "done" or not at all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from hookchain import (
    GiveUp,
    Retry,
    receiver,
    task_failed,
    task_progressed,
    task_started,
    task_succeeded,
)
from storage.engine import Connection
from storage.records import Delivery
from storage.tasks import chains
from storage.tasks import rows as tasks
from tests.conftest import PATIENCE_S
from tests.support.staged import stage, wanted


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second."""
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda attempt, **_: 0.01)


async def test_a_receiver_hears_its_own_sender_only(bench: Any) -> None:
    """connect_via("IMAGINE") hears no UPSCALE; connect hears all."""
    heard: list[tuple[str, str, str]] = []

    @task_succeeded.connect_via("IMAGINE")
    async def imagines(action: str, *, task: Any, **_: Any) -> None:
        heard.append(("imagines", action, task.id))

    @task_succeeded.connect
    async def everything(action: str, *, task: Any, **_: Any) -> None:
        heard.append(("everything", action, task.id))

    await bench.start()
    await bench.callback("1")
    await bench.callback("2", action="UPSCALE")
    await bench.until_quiet()
    assert sorted(heard) == [
        ("everything", "IMAGINE", "1"),
        ("everything", "UPSCALE", "2"),
        ("imagines", "IMAGINE", "1"),
    ]


async def test_a_repeated_callback_runs_a_receiver_once(bench: Any) -> None:
    """SUCCESS three times, one of them after the follow-up left."""
    heard = []

    @task_succeeded.connect
    async def hear(action: str, *, task: Any, chain: Any, **_: Any) -> None:
        heard.append(task.id)
        chain.press("U*")

    await bench.start()
    await bench.callback()
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    await bench.callback()
    await bench.until_quiet()
    assert heard == ["grid"]
    assert len(bench.upstream.pressed()) == 4


async def test_a_receiver_that_raises_holds_back_nobody(bench: Any) -> None:
    """It is tried as often as it may be, then dead with its traceback; the other one is done at once."""

    @task_succeeded.connect
    @receiver(attempts=3)
    async def breaks(action: str, **_: Any) -> None:
        raise ValueError("broken for a reason")

    @task_succeeded.connect
    async def works(action: str, **_: Any) -> None:
        return

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    states = {delivery.receiver.split(".")[-1]: delivery for delivery in await bench.deliveries()}
    assert states["works"].state == "done"
    assert (states["breaks"].state, states["breaks"].attempts) == ("dead", 3)
    assert "broken for a reason" in states["breaks"].error
    assert "Traceback" in states["breaks"].error


async def test_a_receiver_that_fails_after_asking_has_asked_for_nothing(bench: Any) -> None:
    """The first run presses and raises: nothing is pressed; the second run presses."""
    runs = []

    @task_succeeded.connect
    async def presses(action: str, *, chain: Any, **_: Any) -> None:
        runs.append(1)
        await chain.press("U1")
        if len(runs) == 1:
            assert bench.upstream.received == []
            raise RuntimeError("after asking")

    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")
    assert len(runs) == 2
    assert len(bench.upstream.received) == 1


async def test_a_plain_function_runs_in_a_thread(bench: Any) -> None:
    """A sync receiver blocks nobody, and presses without await."""
    threads = []

    @task_succeeded.connect
    def plain(action: str, *, chain: Any, **_: Any) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        chain.press("U2")

    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")
    assert threads == [False]


async def test_a_receiver_that_hangs_is_ended_and_tried_again(bench: Any) -> None:
    """Its time is up, and the next event of another receiver did not wait for it."""
    hanging = asyncio.Event()

    @task_succeeded.connect
    @receiver(timeout_s=0.1, attempts=2)
    async def hangs(action: str, **_: Any) -> None:
        await hanging.wait()

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert (delivery.state, delivery.attempts) == ("dead", 2)
    assert "TimeoutError" in delivery.error


async def test_later_and_never(bench: Any) -> None:
    """Retry runs again when it says so; GiveUp is dead at once."""
    tries = []

    @task_succeeded.connect
    async def later(action: str, **_: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Retry("not yet", after_s=0.01)

    @task_succeeded.connect
    async def never(action: str, **_: Any) -> None:
        raise GiveUp("no use")

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    states = {delivery.receiver.split(".")[-1]: delivery for delivery in await bench.deliveries()}
    assert (states["later"].state, states["later"].attempts) == ("done", 3)
    assert (states["never"].state, states["never"].attempts) == ("dead", 1)
    assert "no use" in states["never"].decision


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"priority": 10**7}, "U1: priority is 10000000; it must be a whole number between -100 and 100"),
        ({"priority": "high"}, "U1: priority is 'high'; it must be a whole number between -100 and 100"),
        (
            {"after": 1e300},
            "U1: after is 1e+300; it must be a number between 0 and 2592000 seconds (30 days)",
        ),
        (
            {"after": float("nan")},
            "U1: after is nan; it must be a number between 0 and 2592000 seconds (30 days)",
        ),
        ({"again": -1}, "U1: again is -1; it must be a whole number between 0 and 1000000"),
    ],
)
async def test_a_number_out_of_range_is_a_dead_letter_at_once(
    bench: Any, how: dict[str, Any], told: str
) -> None:
    """It says which number, and what it may be."""

    @task_succeeded.connect
    async def presses(action: str, *, chain: Any, **_: Any) -> None:
        await chain.press("U1", **how)

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (dead,) = await bench.deliveries()
    assert (dead.state, dead.attempts, dead.decision) == ("dead", 1, f"gave up: {told}")


@pytest.mark.parametrize("after_s", [1e300, float("nan"), -1.0])
def test_a_time_out_of_range_is_not_waited_for(after_s: float) -> None:
    """The receiver fails there, with the number in its traceback."""
    with pytest.raises(ValueError, match=r"not between 0 seconds and 30 days"):
        Retry(after_s=after_s)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (lambda chain: chain.note("half a cat: \ud83d"), "UnicodeEncodeError"),
        (lambda chain: fail(GiveUp("half a cat: \ud83d")), "half a cat: \\ud83d"),
        (lambda chain: fail(GiveUp("the end \0 of C")), "the end"),
    ],
)
async def test_an_end_that_cannot_be_kept_is_a_dead_letter(
    bench: Any, ends: Callable[[Any], None], told: str
) -> None:
    """What no database takes, or one of them, ends one run: it is not left running, and run again and again."""

    @task_succeeded.connect
    async def odd(action: str, *, chain: Any, **_: Any) -> None:
        ends(chain)

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (dead,) = await bench.deliveries()
    assert (dead.state, dead.attempts) == ("dead", 1)
    assert told in dead.error


def fail(error: Exception) -> None:
    raise error


async def test_an_event_that_cannot_be_read_is_a_dead_letter(bench: Any) -> None:
    """Its submission was damaged, by hand say: the receiver fails for it as often as it may, and says why."""

    @task_succeeded.connect
    @receiver(attempts=2)
    async def hears(action: str, **_: Any) -> None:
        return

    damaged = msgspec.structs.replace(wanted("k"), request=b'{"kind":"nonsense"}', delay_ms=10**14)
    made = await bench.database.write("stage", partial(stage, staged=damaged))
    await bench.start()
    await bench.callback("1", made.submission_id, state=made.submission_id)
    dead = await bench.until(lambda: _dead(bench))
    assert dead.attempts == 2
    assert "Traceback" in dead.error


async def _dead(bench: Any) -> Delivery | None:
    return next((one for one in await bench.deliveries() if one.state == "dead"), None)


async def test_a_delivery_whose_receiver_is_gone_becomes_a_dead_letter(bench: Any) -> None:
    """The plugin was removed between two starts; nothing is lost, nothing retried in vain."""

    @task_succeeded.connect
    @receiver(name="here-today")
    async def listens(action: str, **_: Any) -> None:
        raise Retry(after_s=0.3)

    await bench.start()
    await bench.callback()
    await bench.until(lambda: _has_delivery(bench))
    await bench.stop()
    task_succeeded._clear_state()
    await bench.start()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert delivery.state == "dead"
    assert "not loaded" in delivery.error


async def _has_delivery(bench: Any) -> bool:
    return bool(await bench.deliveries())


@pytest.mark.parametrize(
    "leave", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration()]
)
@pytest.mark.parametrize("plain", [False, True])
async def test_a_receiver_that_wants_out_ends_nothing_but_its_run(
    bench: Any, leave: BaseException, plain: bool
) -> None:
    """sys.exit() in a plugin, next() of nothing, or a cancelled task of its own: a failed attempt like any other."""

    def leaves(action: str, **_: Any) -> None:
        raise leave

    async def leaves_too(action: str, **_: Any) -> None:
        raise leave

    task_succeeded.connect(receiver(attempts=2)(leaves if plain else leaves_too), weak=False)
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert (delivery.state, delivery.attempts) == ("dead", 2)
    assert type(leave).__name__ in delivery.error
    assert "in leaves" in delivery.error  # its own traceback


async def test_a_plain_function_that_hangs_holds_back_no_other(bench: Any) -> None:
    """Forty hang for ever; the one after them runs, and the worker stops."""
    hanging = threading.Event()

    @task_succeeded.connect_via("HANGS")
    @receiver(timeout_s=0.05, attempts=1, concurrency=64)
    def hangs(action: str, **_: Any) -> None:
        hanging.wait(PATIENCE_S)

    @task_succeeded.connect_via("IMAGINE")
    def works(action: str, **_: Any) -> None: ...

    await bench.start()
    await asyncio.gather(*(bench.callback(str(number), action="HANGS") for number in range(40)))
    await bench.callback("last")
    await bench.until_quiet()
    states = [delivery.state for delivery in await bench.deliveries()]
    assert (states.count("dead"), states.count("done")) == (40, 1)
    hanging.set()


async def test_the_concurrency_of_a_receiver_holds(bench: Any) -> None:
    """Ten events, at most two runs at once, all of them done."""
    running = 0
    most = 0

    @task_succeeded.connect
    @receiver(concurrency=2)
    async def busy(action: str, **_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await bench.start()
    await asyncio.gather(*(bench.callback(str(number)) for number in range(10)))
    await bench.until_quiet()
    assert [delivery.state for delivery in await bench.deliveries()] == ["done"] * 10
    assert most <= 2


async def test_a_receiver_that_runs_one_at_a_time_finds_what_its_last_run_requested(bench: Any) -> None:
    """Its place is free before the end of a run is committed, but the next run begins after that."""
    found: list[int] = []

    @task_succeeded.connect
    @receiver(concurrency=1)
    async def press(action: str, *, chain: Any, **_: Any) -> None:
        found.append(len(await bench.submissions()))
        chain.press("U1")

    await bench.start()
    await asyncio.gather(*(bench.callback(str(number)) for number in range(5)))
    await bench.until_states(*["accepted"] * 5)
    assert found == [0, 1, 2, 3, 4]


async def test_a_retried_dead_letter_runs_again(bench: Any) -> None:
    """With all its attempts."""
    from dispatcher.by_hand import dead_letters

    broken = [True]

    @task_failed.connect
    @receiver(attempts=1)
    async def mended(action: str, **_: Any) -> None:
        if broken[0]:
            raise ValueError("broken")

    await bench.start()
    await bench.callback(status="FAILURE")
    await bench.until_quiet()
    (dead,) = await bench.deliveries()
    broken[0] = False
    assert await bench.database.write("retry", lambda c: dead_letters.retry(c, f"delivery-{dead.id}", 0))
    bench.database.wakeups.wake("events")
    await bench.until_quiet()
    assert [delivery.state for delivery in await bench.deliveries()] == ["done"]


async def test_a_receiver_hears_of_a_task_in_order_and_tasks_do_not_wait_for_one_another(bench: Any) -> None:
    """The first event of one task fails until all of another is heard: the next ones of that task wait for it."""
    heard: list[tuple[str, str]] = []

    @receiver(attempts=10_000)
    def listen(action: str, *, task: Any, event: Any, **_: Any) -> None:
        if task.id == "slow" and event.signal == "task.started" and len(heard) < 3:
            raise RuntimeError("not yet")
        heard.append((task.id, event.signal))

    for signal in (task_started, task_progressed, task_succeeded):
        signal.connect(listen)
    await bench.start()
    for task_id in ("slow", "quick"):
        await bench.callback(task_id, status="IN_PROGRESS", progress="0%", buttons=[])
        await bench.callback(task_id, status="IN_PROGRESS", progress="50%", buttons=[])
        await bench.callback(task_id)

    async def all_heard() -> bool:
        return len(heard) == 6

    await bench.until(all_heard)
    in_order = ["task.started", "task.progressed", "task.succeeded"]
    for task_id in ("slow", "quick"):
        assert [signal for one, signal in heard if one == task_id] == in_order
    assert [one for one, _ in heard[:3]] == ["quick"] * 3


async def test_a_chain_tells_what_receivers_are_still_to_hear_of_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not told, being told, told; what failed and is to be tried in an hour is not awaited."""
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda attempt, **_: 3600)
    begun, may_end = threading.Event(), threading.Event()

    @task_succeeded.connect
    def slow(action: str, *, chain: Any, **_: Any) -> None:
        begun.set()
        may_end.wait(PATIENCE_S)
        chain.press("U1")

    @task_succeeded.connect
    async def fails(action: str, **_: Any) -> None:
        raise Retry("not yet")

    async def untold() -> int:
        def ask(connection: Connection) -> int:
            found = tasks.find(connection, "main", "grid")
            assert found is not None
            return chains.count_undelivered(connection, found.chain_id or "", time.time_ns() // 1_000_000)

        answer: int = await bench.database.read(ask)
        return answer

    async def is_told() -> bool:
        return await untold() == 0

    await bench.start()
    await bench.callback()
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    await bench.until(lambda: _failed(bench))
    assert await untold() == 1
    may_end.set()
    await bench.until(is_told)
    assert [one.label for one in await bench.submissions()] == ["U1"]


async def _failed(bench: Any) -> bool:
    return any(one.attempts and one.error for one in await bench.deliveries())
