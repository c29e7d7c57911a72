"""`submission_leaving`: a plugin may keep a submission from being sent; whoever cannot be asked has not agreed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dispatcher.policy.outcomes import NOT_SENT_ATTEMPTS, after_failed_veto
from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from hookchain import Veto, receiver, submission_leaving, submission_rejected
from midjourney.requests import Action, Cancel, Imagine
from storage.budgets import counters
from storage.clock import now_ms
from storage.reading import explanation
from storage.upstreams import standings
from tests.dispatcher.conftest import U


@pytest.fixture(autouse=True)
def no_receivers() -> Iterator[None]:
    """Of this signal, before and after."""
    submission_leaving._clear_state()
    yield
    submission_leaving._clear_state()


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_a_veto_keeps_a_submission_from_being_sent(bench: Any, plain: bool) -> None:
    """It is rejected with the reason, unpaid; explain and `submission.rejected` say so. Others leave."""
    heard: list[tuple[str, str, str]] = []

    def refuse(action: str, *, submission: Any, prompt: str, **_: Any) -> None:
        heard.append((action, submission.kind, prompt))
        if "dog" in prompt:
            raise Veto("no credits left for dogs")

    async def refuse_too(action: str, **arguments: Any) -> None:
        refuse(action, **arguments)

    submission_leaving.connect(receiver(name="no-dogs")(refuse if plain else refuse_too))
    rejected: list[str] = []
    submission_rejected.connect(
        receiver(pure=True)(lambda _, submission, **__: rejected.append(submission.reason))
    )
    bench.database.charge_by(Budgets([PeriodBudget(per="month", submissions=9)], ZoneInfo("UTC"), {}))
    await bench.start()
    dog, cat = await bench.ask(Imagine(prompt="a dog")), await bench.ask(Imagine(prompt="a cat"))
    await bench.until_state(cat, "accepted")
    refused = await bench.until_state(dog, "rejected")
    assert (refused.outcome, refused.reason) == ("vetoed", "no-dogs vetoed it: no credits left for dogs")
    assert (refused.attempts, refused.failure_kind, refused.task_ids) == (1, "", ())
    assert [body["prompt"] for _, body in bench.upstream.received] == ["a cat"]
    assert set(heard) == {("IMAGINE", "imagine", "a dog"), ("IMAGINE", "imagine", "a cat")}
    await bench.until_quiet()
    assert rejected == [refused.reason]
    used = await bench.database.read(lambda c: counters.used(c, now_ms()))
    (left,) = bench.database.plan.standing(used, now_ms())
    assert left.used == 1, "what did not leave costs nothing"
    # The words are the plugin's: they do not pause the upstream, as the upstream's own would.
    assert await bench.database.read(standings.paused) == frozenset()


async def test_a_veto_is_explained_with_the_press(bench: Any) -> None:
    """Where people look: the picture's explanation."""

    @submission_leaving.connect_via("UPSCALE")
    @receiver(name="no-upscales")
    async def refuse(action: str, **_: Any) -> None:
        raise Veto("not today")

    await bench.start()
    await bench.callback()
    press = await bench.ask(Action(task_id="grid", custom_id=U[0]))
    await bench.until_state(press, "rejected")
    await bench.until_quiet()
    story = await bench.database.read(lambda c: explanation.explained(c, "main", "grid"))
    assert [one.reason for one in story.asked_for] == ["no-upscales vetoed it: not today"]
    assert bench.upstream.pressed() == []


async def test_who_fails_has_not_agreed(bench: Any) -> None:
    """The submission waits and is asked about again; it is sent once, and the upstream is not blamed."""
    asked: list[int] = []

    @submission_leaving.connect
    @receiver(name="shaky")
    async def shaky(action: str, *, submission: Any, **_: Any) -> None:
        asked.append(submission.attempts)
        if len(asked) == 1:
            raise ValueError("the list of banned words cannot be read")

    await bench.start()
    one = await bench.ask(Imagine(prompt="a cat"))

    async def held_back() -> bool:
        found = await bench.submissions()
        return bool(found and found[0].outcome == "held_back")

    await bench.until(held_back)
    assert bench.upstream.received == []
    (waiting,) = await bench.submissions()
    assert waiting.state == "waiting"
    assert waiting.reason.startswith("shaky failed before it agreed: ValueError: the list")
    assert waiting.run_at_ms > waiting.created_at_ms
    standing = await bench.database.read(standings.every)
    assert standing["main"].failures == 0
    await bench.until_state(one, "accepted")
    assert asked == [1, 2]
    assert len(bench.upstream.received) == 1


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_who_takes_too_long_has_not_agreed(bench: Any, plain: bool) -> None:
    """A thread cannot be stopped: as long as it hangs, the receiver is not called again, and nothing leaves."""
    may_end = threading.Event()

    @receiver(name="slow", timeout_s=0.05, concurrency=1)
    def hang(action: str, **_: Any) -> None:
        may_end.wait()

    @receiver(name="slow", timeout_s=0.05, concurrency=1)
    async def wait(action: str, **_: Any) -> None:
        if not may_end.is_set():
            await asyncio.sleep(3600)

    submission_leaving.connect(hang if plain else wait)
    await bench.start()
    one = await bench.ask(Imagine(prompt="a cat"))

    async def held_back() -> bool:
        found = await bench.submissions()
        return bool(found and found[0].outcome == "held_back")

    await bench.until(held_back)
    (waiting,) = await bench.submissions()
    assert "slow failed before it agreed: TimeoutError: slow did not end within 0.05 s" in waiting.reason
    assert bench.upstream.received == []
    may_end.set()
    await bench.until_state(one, "accepted")
    assert len(bench.upstream.received) == 1


async def test_a_cancel_is_not_asked_about(bench: Any) -> None:
    """It stops what costs."""

    @submission_leaving.connect
    async def refuse(action: str, **_: Any) -> None:
        raise Veto("nothing")

    await bench.start()
    await bench.callback(status="IN_PROGRESS", progress="10%", buttons=[])
    await bench.ask(Cancel(task_id="grid"))

    async def outcome() -> str:
        (found,) = await bench.submissions()
        return str(found.outcome).replace("sending", "")

    assert await bench.until(outcome) != "vetoed"


async def test_one_veto_outweighs_failures(bench: Any) -> None:
    """It is final; waiting for the others changes nothing."""

    @submission_leaving.connect
    def fail(action: str, **_: Any) -> None:
        raise ValueError

    @submission_leaving.connect
    def refuse(action: str, **_: Any) -> None:
        raise Veto("no")

    await bench.start()
    one = await bench.ask(Imagine(prompt="a cat"))
    assert (await bench.until_state(one, "rejected")).outcome == "vetoed"


async def test_a_receiver_that_never_agrees_makes_a_dead_letter(bench: Any) -> None:
    """After as many tries as an upstream that cannot be reached gets."""
    await bench.start()
    one = await bench.ask(Imagine(prompt="a cat"))
    sent = await bench.until_state(one, "accepted")
    assert sent.tries < NOT_SENT_ATTEMPTS
    decide = partial(after_failed_veto, reason="x failed", now_ms=0, luck=0.5)
    assert decide(_tried(sent, NOT_SENT_ATTEMPTS - 1)).state == "waiting"
    last = decide(_tried(sent, NOT_SENT_ATTEMPTS))
    assert (last.state, last.outcome, last.signal) == ("dead", "held_back", "submission.dead")


def _tried(submission: Any, attempts: int) -> Any:
    return msgspec.structs.replace(submission, attempts=attempts)


PLUGIN = """
import time
from pathlib import Path
from hookchain import submission_leaving

@submission_leaving.connect
def ask(action, *, submission, prompt, **_):
    with open("asked", "a") as asked:
        asked.write(f"{submission.attempts}\\n")
    while not Path("agreed").exists():
        time.sleep(0.01)
"""


@pytest.mark.process
def test_a_process_that_dies_while_it_asks_has_sent_nothing(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """kill -9: the next process asks again and sends it once; it is never uncertain."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    sandbox = start_sandbox("--speed", "30")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: (tmp_path / "asked").exists())
    server.kill()
    (tmp_path / "agreed").touch()
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 1)
    assert len(sandbox.accepted("/imagine")) == 1
    signals = {event["signal"] for event in server.get("/api/events?limit=200")["events"]}
    assert "submission.uncertain" not in signals
    assert (tmp_path / "asked").read_text().split() == ["1", "2"]
