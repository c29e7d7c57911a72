"""A replay runs receivers again and pays nothing, whatever the texts of rules say by then; a forced one pays."""

from __future__ import annotations

from typing import Any

from storage.clock import now_ms
from storage.events.replay import replay

COUNTING = """
[[rules]]
name = "count"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
imagine = "again, number {{ chain.submissions }}"
press = "U1"
"""


async def replayed(bench: Any, *, force: bool = False) -> str:
    """Replay the SUCCESS of the grid; what its receiver did."""
    before = len(await bench.deliveries())
    event = next(one for one in await bench.events(task_id="grid") if one.signal == "task.succeeded")
    await bench.database.write("replay", lambda c: replay(c, event.id, force=force, now_ms=now_ms()))
    bench.database.wakeups.wake("events")

    async def ended() -> str:
        deliveries = await bench.deliveries()
        last = deliveries[-1]
        return last.decision if len(deliveries) > before and last.state == "done" else ""

    decision: str = await bench.until(ended)
    return decision


async def test_a_replay_requests_no_other_prompt(bench: Any) -> None:
    """The text counts what was submitted, so it is another one each time. The button has a key of its own."""
    bench.rules(COUNTING)
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted", "accepted")
    for _ in range(2):
        assert (
            "not requested again, because this is a replay: imagine; --force pays for it"
            in await replayed(bench)
        )
    await bench.until_quiet()
    assert len(bench.upstream.received) == 2


async def test_a_forced_replay_pays(bench: Any) -> None:
    """For both."""
    bench.rules(COUNTING)
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted", "accepted")
    assert "not requested again" not in await replayed(bench, force=True)
    await bench.until_states(*["accepted"] * 4)


async def test_a_replay_requests_what_was_never_requested(bench: Any) -> None:
    """The rule is new: a replay is how it hears of what has happened before."""
    await bench.callback()
    bench.rules(COUNTING)
    await bench.start()
    await bench.until_quiet()
    if not bench.upstream.received:
        await replayed(bench)
    await bench.until_states("accepted", "accepted")
