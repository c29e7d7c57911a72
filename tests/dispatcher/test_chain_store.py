"""`chain.store`: what plugins remember in a chain, committed with the end of the delivery, or not at all."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from dispatcher.plugins.chain_store import MOST_BYTES, ChainStore, StoreOfChain, changes
from hookchain import Chain, GiveUp, receiver, task_failed, task_started, task_succeeded
from hookchain.testing import Hookchain, grid, upscale
from midjourney.types import Status
from storage.deliveries import chain_stores
from storage.events import replay
from storage.records import StoredValues

WRONG = [
    one
    for one in (Path(__file__).parent / "wrong_stores.txt").read_text().split("-" * 20 + "\n")
    if one.strip()
]

# What it is like.


@pytest.mark.parametrize("case", WRONG, ids=range(1, len(WRONG) + 1))
def test_a_mistake_names_the_receiver_the_key_and_what_to_write(case: str) -> None:
    """When it is made, or at the end at the latest. Word for word."""
    source, _, message = case.partition("-> ")
    store = ChainStore('{"list": []}', "captions:count")

    def run() -> None:
        exec(source, {"store": store})
        store.content()

    with pytest.raises(GiveUp, match=f"^{re.escape(message.strip())}$"):
        run()


def test_there_are_many_ways_to_be_wrong() -> None:
    """The table has not shrunk."""
    assert len(WRONG) >= 16


def test_it_is_like_a_dict() -> None:
    """With everything that comes with that."""
    store = ChainStore('{"seen": 1, "made": {"U1": [1, 2.5, true, null, "ü"]}}', "a:b")
    assert store == {"seen": 1, "made": {"U1": [1, 2.5, True, None, "ü"]}}
    store["seen"] = store.get("seen", 0) + 1
    store.setdefault("parts", []).append("a")
    del store["made"]["U1"]
    assert (len(store), list(store), "parts" in store, store.pop("nothing", "else")) == (
        3,
        ["seen", "made", "parts"],
        True,
        "else",
    )
    with pytest.raises(KeyError):
        store["nothing"]
    assert store.content() == '{"seen":2,"made":{},"parts":["a"]}'
    assert repr(store) == "ChainStore({'seen': 2, 'made': {}, 'parts': ['a']})"
    store.clear()
    assert store.content() == "{}"


def test_what_is_stored_is_plain_whatever_it_was_made_of() -> None:
    """Words of an enumeration come back as texts; the greatest and smallest numbers as they were."""
    store = ChainStore("{}", "a:b")
    store["values"] = [Status.SUCCESS, 2**63 - 1, -(2**63), 1e308, -0.0, "\0", "\U0001f600"]
    again = ChainStore(store.content(), "a:b")
    assert again["values"] == ["SUCCESS", 2**63 - 1, -(2**63), 1e308, 0.0, "\0", "\U0001f600"]
    assert type(again["values"][0]) is str
    assert again.content() == store.content()


def test_it_holds_as_much_as_is_allowed_and_no_more() -> None:
    """In all, in bytes of UTF-8."""
    store = ChainStore("{}", "a:b")
    store["a"] = "x" * (MOST_BYTES - len('{"a":""}'))
    assert len(store.content()) == MOST_BYTES
    store["a"] += "x"
    with pytest.raises(GiveUp, match=r"^a:b: chain.store holds 65537 bytes of JSON, and may hold 65536\. "):
        store.content()
    wide = ChainStore("{}", "a:b")
    wide["a"] = "ü" * (MOST_BYTES // 2)
    with pytest.raises(GiveUp, match="holds 65544 bytes"):
        wide.content()


def test_a_decision_tells_a_bounded_part_of_the_changes() -> None:
    """Values as JSON, so that no line break gets through."""
    assert (
        changes('{"a":1,"b":[1],"c":1}', '{"b":[1,2],"c":1.0,"d e":"x\\ny"}')
        == "kept in chain.store: b = [1,2], c = 1.0, 'd e' = \"x\\ny\", a is gone"
    )
    long = changes("{}", '{"a":"' + "x" * 100 + '"}')
    assert long == f'kept in chain.store: a = "{"x" * 58}…'
    many = changes("{}", "{" + ",".join(f'"k{n}":{n}' for n in range(20)) + "}")
    assert many.endswith("k7 = 7, 12 more")


def test_a_store_that_is_assigned_is_refused_with_what_to_write() -> None:
    """It would be lost, or drop what other plugins keep there."""
    chain, values = StoreOfChain(), cast(Any, {"seen": 1})
    chain._asked_by = "captions:count"
    words = (
        'captions:count: chain.store cannot be replaced. Write chain.store["seen"] = …, or chain.store.update({…}) for several keys; '
        "chain.store.clear() before it removes all others"
    )
    with pytest.raises(GiveUp, match=f"^{re.escape(words)}$"):
        chain.store = values


def test_values_of_a_dict_are_added_with_an_operator() -> None:
    """As to any dict; Python then assigns the very store that there is."""
    chain = StoreOfChain()
    chain._asked_by, chain.id = "captions:count", "chain"
    chain.show_store(StoredValues(content='{"a":1,"b":1}', version=1))
    chain.store |= {"b": 2, "c": 3}
    change = chain.store_change()
    assert change is not None
    assert change.content == '{"a":1,"b":2,"c":3}'
    equal: Any = dict(chain.store)
    with pytest.raises(GiveUp, match="cannot be replaced"):
        chain.store = equal


# In runs.


def count(action: str, *, chain: Chain, **_: Any) -> None:
    """The plugin that everybody writes first."""
    chain.store["seen"] = chain.store.get("seen", 0) + 1


Load = Callable[[str], None]


@pytest.fixture
def plugin(hookchain: Hookchain, tmp_path: Path) -> Load:
    """Loads a plugin of this source, after its imports."""

    def load(source: str) -> None:
        file = tmp_path / "of_a_test.py"
        file.write_text("from hookchain import *\n" + source)
        hookchain.load_plugin(file)

    return load


def test_a_plugin_counts_and_passes_data_to_later_steps(hookchain: Hookchain, plugin: Load) -> None:
    """From one task of the chain to another, from one receiver to another; another chain has its own. A list counts inside, too."""
    plugin("""
@task_succeeded.connect_via("IMAGINE")
def first(action, *, task, chain, **_):
    chain.store["words"] = task.prompt.split()
    chain.press("U1")

@task_succeeded.connect_via("UPSCALE")
async def second(action, *, chain, **_):
    chain.store["words"].append("upscaled")
    chain.imagine(" ".join(chain.store["words"]))
""")
    asked = hookchain.succeed(grid("a", prompt="a cat"))
    assert asked.store == {"words": ["a", "cat"]}
    assert asked.decisions == {
        "of_a_test:first": 'asked for action U1; kept in chain.store: words = ["a","cat"]'
    }
    upscaled = hookchain.succeed(upscale(), of=asked.asks[0])
    assert upscaled.prompts == ["a cat upscaled"]
    assert hookchain.store("a") == upscaled.store == {"words": ["a", "cat", "upscaled"]}
    assert hookchain.store(upscaled.asks[0]) == hookchain.store("a")
    assert hookchain.succeed(grid("b", prompt="a dog")).store == {"words": ["a", "dog"]}
    assert hookchain.store("a") == {"words": ["a", "cat", "upscaled"]}


def test_what_a_run_keeps_is_kept_only_if_it_ends_well(hookchain: Hookchain, plugin: Load) -> None:
    """One that fails keeps nothing, and the next try sees nothing of it."""
    plugin("""
@task_succeeded.connect
@receiver(attempts=2)
def fails_once(action, *, chain, tries=[], **_):
    assert dict(chain.store) == {}
    chain.store["tried"] = len(tries)
    tries.append(1)
    if len(tries) == 1:
        raise Retry(after_s=1)
""")
    assert hookchain.succeed(grid()).store == {}
    assert hookchain.store("grid") == {}
    assert hookchain.wait(2).store == {"tried": 1}


def test_a_store_that_cannot_be_stored_is_a_dead_letter_that_spends_nothing(
    hookchain: Hookchain, plugin: Load
) -> None:
    """What the run staged goes with it. The end of the run shows it, and so no line of the plugin."""
    plugin("""
@task_succeeded.connect
def wrong(action, *, chain, **_):
    chain.press("U1")
    chain.store["made"] = made = []
    made.append({1, 2})
""")
    hookchain.raise_errors = False
    asked = hookchain.succeed(grid())
    assert (asked.asks, asked.store) == ([], {})
    why = "of_a_test:wrong: chain.store['made'][0]: a set is not JSON; write sorted(…)"
    assert asked.failed == {"of_a_test:wrong": f"dispatcher.plugins.errors.GiveUp: {why}"}


def test_reading_changes_nothing(hookchain: Hookchain, plugin: Load) -> None:
    """The decision does not speak of it either. So does a change that is taken back."""
    plugin("""
@task_succeeded.connect
def reads(action, *, chain, **_):
    assert dict(chain.store) == {"seen": 3}
    chain.store["seen"] = 4
    chain.store["seen"] -= 1
""")
    assert hookchain.store("grid", {"seen": 3}) == {"seen": 3}
    asked = hookchain.succeed(grid())
    assert (asked.store, asked.decisions) == ({}, {"of_a_test:reads": ""})


def test_a_test_can_put_values_there_before(hookchain: Hookchain, plugin: Load) -> None:
    """For a task that comes later, and for one that has come; only what could be stored."""
    plugin("""
@task_succeeded.connect
def count(action, *, chain, **_):
    chain.store["seen"] = chain.store.get("seen", 0) + 1
""")
    assert hookchain.store("grid", {"seen": 7}) == {"seen": 7}
    assert hookchain.succeed(grid()).store == {"seen": 8}
    assert hookchain.store("grid", {}) == {}
    assert hookchain.store("grid") == {}
    assert hookchain.succeed(grid("another")).store == {"seen": 1}
    with pytest.raises(GiveUp, match=r"^the test: chain.store\['seen'\]: a set is not JSON"):
        hookchain.store("grid", {"seen": {1}})


def test_an_event_without_a_chain_has_no_store() -> None:
    """Which is said, and not written nowhere."""
    none = StoreOfChain()
    none._asked_by = "a:b"
    with pytest.raises(GiveUp, match=r"^a:b: this event belongs to no chain"):
        none.store["seen"] = 1
    assert none.store_change() is None


async def kept(bench: Any) -> list[dict[str, Any]]:
    found = await bench.database.read(chain_stores.contents)
    return [json.loads(one) for one in found.values()]


async def test_runs_of_one_chain_at_the_same_moment_lose_nothing(bench: Any) -> None:
    """The first four have read the same; one of them counts, and three run again, one after the other from then on."""
    gate, inside, runs = threading.Event(), threading.Semaphore(0), []

    @task_started.connect
    @receiver(name="waits", pure=True)
    def waits(action: str, *, chain: Chain, **_: Any) -> None:
        chain.store["seen"] = chain.store.get("seen", 0) + 1
        runs.append(chain.store["seen"])
        inside.release()
        gate.wait(60)

    names = ["waits"]
    for number in range(3):
        name = f"too {number}"
        names.append(name)
        task_started.connect(receiver(name=name, pure=True)(_another(waits)), weak=False)
    await bench.start()
    try:
        await bench.callback(status="IN_PROGRESS", progress="10%")
        for _ in names:
            assert await asyncio.to_thread(inside.acquire, timeout=60)
        assert runs == [1, 1, 1, 1]
    finally:
        gate.set()
    await bench.until_quiet()
    assert await kept(bench) == [{"seen": 4}]
    assert sorted(runs[4:]) == [2, 3, 4]  # each of the others once more: no two at once
    deliveries = await bench.deliveries()
    assert [one.state for one in deliveries] == ["done"] * 4
    assert sorted((one.attempts, one.tries) for one in deliveries) == [(1, 1), (2, 1), (2, 1), (2, 1)]


def _another(function: Any) -> Any:
    def same(action: str, **named: Any) -> None:
        function(action, **named)

    return same


async def test_what_a_run_requested_before_it_is_done_again_is_not_requested(bench: Any) -> None:
    """Both have seen that nobody has pressed yet; one press is paid."""
    gate, inside = asyncio.Event(), asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    async def presses_once(action: str, *, chain: Chain, button: str, **_: Any) -> None:
        if not chain.store.get("pressed"):
            chain.store["pressed"] = button
            chain.press(button)
        loop.call_soon_threadsafe(inside.release)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate.wait(), loop))

    @task_succeeded.connect
    async def one(action: str, **named: Any) -> None:
        await presses_once(action, button="U1", **named)

    @task_succeeded.connect
    async def other(action: str, **named: Any) -> None:
        await presses_once(action, button="U2", **named)

    await bench.start()
    await bench.callback()
    async with asyncio.timeout(60):
        await inside.acquire()
        await inside.acquire()
    gate.set()
    await bench.until_quiet()
    (pressed,) = await bench.submissions()
    assert await kept(bench) == [{"pressed": pressed.label}]


async def test_a_rule_reads_no_store_and_a_plugin_only_where_there_is_one(bench: Any) -> None:
    """Nothing is added for those that use none."""
    read: list[str] = []
    found = chain_stores.find

    def noted(connection: Any, chain_id: str) -> Any:
        read.append(chain_id)
        return found(connection, chain_id)

    bench.rules('[[rules]]\nname = "up"\non = "task.succeeded"\npress = "U1"\n')

    @task_succeeded.connect
    def looks(action: str, *, chain: Chain, **_: Any) -> None:
        assert not chain.store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_stores, "find", noted)
        await bench.start()
        await bench.callback()
        await bench.until_quiet()
    assert {one.state for one in await bench.deliveries()} == {"done"}
    assert read == []


async def test_a_replay_sees_the_store_as_it_is_now(bench: Any) -> None:
    """And what it keeps counts, as in any run."""
    task_failed.connect(count)
    await bench.start()
    await bench.callback(status="FAILURE", buttons=[])
    await bench.until_quiet()
    assert await kept(bench) == [{"seen": 1}]
    (event,) = [one for one in await bench.events() if one.signal == "task.failed"]
    await bench.database.write("replay", lambda c: replay.replay(c, event.id, force=False, now_ms=10))
    bench.database.wakeups.wake("events")
    await bench.until_quiet()
    assert await kept(bench) == [{"seen": 2}]
