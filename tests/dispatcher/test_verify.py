"""Forged callbacks cost nothing: before money is spent on a callback's word, its task is read back."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.policy.backoff import delay_s
from hookchain import task_succeeded
from midjourney.requests import Action, Imagine

UPSCALE_ALL = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second question comes at once."""
    monkeypatch.setattr("dispatcher.runs.verifier.AGAIN_AFTER_S", 0.01)
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)


async def decided(bench: Any) -> str:
    """What the one delivery came to."""

    async def done() -> str:
        found = [one.decision for one in await bench.deliveries() if one.state == "done"]
        return found[0] if found else ""

    told: str = await bench.until(done)
    return told


async def test_a_success_of_an_unknown_task_presses_nothing(bench: Any) -> None:
    """It is kept, shown as refuted, and never asked about again."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback(forged=True)
    assert await decided(bench) == "refuted, nothing ran: the upstream does not know this task"
    assert await bench.submissions() == []
    assert bench.upstream.received == []
    (forged, note) = await bench.events(task_id="grid")
    assert (forged.source, note.status) == ("callback", "refuted")
    assert note.detail == f"event {forged.id} is refuted: the upstream does not know this task"


async def test_a_success_that_comes_too_early_is_refuted_and_the_true_one_still_counts(bench: Any) -> None:
    """The task goes back to where the upstream says it is; its real SUCCESS then presses all four."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    await bench.callback(status="IN_PROGRESS", progress="31%", buttons=[])
    await bench.callback(forged=True)
    assert await decided(bench) == "refuted, nothing ran: the callback says SUCCESS, the upstream IN_PROGRESS"
    assert await bench.submissions() == []
    await bench.callback()
    await bench.until_states(*["accepted"] * 4)
    signals = [event.signal for event in await bench.events(task_id="grid", source="callback")]
    assert signals == ["task.started", "task.succeeded", "task.succeeded"]


async def test_a_button_that_the_task_does_not_have_is_not_pressed(bench: Any) -> None:
    """The task is finished, but the callback's buttons are somebody's own."""
    bench.rules(UPSCALE_ALL)
    await bench.start()
    own = [{"customId": f"MJ::JOB::upsample::{n}::of-another", "label": f"U{n}"} for n in (1, 2, 3, 4)]
    bench.upstream.tasks["grid"] = {"id": "grid", "status": "SUCCESS", "action": "IMAGINE", "buttons": []}
    await bench.callback(forged=True, buttons=own)
    assert await decided(bench) == "did not fire: task.is_grid is False"
    assert bench.upstream.received == []


async def test_a_button_that_a_plugin_writes_itself_is_not_pressed(bench: Any) -> None:
    """The upstream's task is asked for its buttons, and this one is not among them: nothing is paid for."""
    button = "MJ::JOB::upsample::1::of-another"

    @task_succeeded.connect
    async def builds(action: str, *, task: Any, chain: Any, **_: Any) -> None:
        chain.submit(Action(task_id=task.id, custom_id=button))

    await bench.start()
    await bench.callback()
    assert await decided(bench) == f"nothing submitted: the upstream's task has no button {button}"
    assert bench.upstream.received == []


async def test_one_question_serves_all_that_follow(bench: Any) -> None:
    """Three rules press something because of one event: the task is read once."""
    three = [UPSCALE_ALL.replace("upscale-all", f"u{n}").replace("U*", f"U{n}") for n in (1, 2, 3)]
    bench.rules("".join(three))
    bench.options["look_after_s"] = 1000.0
    await bench.start()
    await bench.callback()
    await bench.until_states(*["accepted"] * 3)
    assert bench.upstream.fetched == ["grid"]


async def test_an_upstream_that_is_trusted_is_not_asked(bench: Any) -> None:
    """`verify = "trust"`."""
    bench.rules(UPSCALE_ALL)
    bench.options |= {"verify": "trust", "look_after_s": 1000.0}
    await bench.start()
    await bench.callback(forged=True)
    await bench.until_states(*["accepted"] * 4)
    assert bench.upstream.fetched == []


async def test_an_upstream_that_cannot_be_asked_is_waited_for(bench: Any) -> None:
    """Nothing is spent, no attempt of the receiver's is used up; when it can be asked, all goes on."""
    bench.rules(UPSCALE_ALL)
    bench.upstream.fetch_status = 503
    await bench.start()
    await bench.callback()

    async def asked_often() -> bool:
        return len(bench.upstream.fetched) > 12

    await bench.until(asked_often)
    (delivery,) = await bench.deliveries()
    assert "waits: the callback cannot be verified: HTTP 503" in delivery.decision
    assert await bench.submissions() == []
    bench.upstream.fetch_status = 200
    await bench.until_states(*["accepted"] * 4)
    (delivery,) = await bench.deliveries()
    assert delivery.tries == 1


async def test_invented_tasks_hold_up_no_task_of_ours(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred callbacks name tasks that the upstream takes for ever to look for; our own grid is read back and pressed."""
    bench.rules(UPSCALE_ALL)
    bench.upstream.unknown_gate.clear()
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", delay_s)
    await bench.start()
    await bench.ask(Imagine(prompt="a cat"))
    (imagine,) = await bench.until_states("accepted")
    for number in range(200):
        await bench.callback(f"forged-{number}", forged=True)

    async def are_looked_for() -> bool:
        return any("unknown tasks are being verified" in one.decision for one in await bench.deliveries())

    await bench.until(are_looked_for)
    await bench.callback("child-1", imagine.id)
    await bench.until_states(*["accepted"] * 5)
    assert len(bench.upstream.pressed()) == 4
    bench.upstream.unknown_gate.set()


async def test_half_of_a_receivers_runs_may_ask_about_unknown_tasks(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen are claimed at the same moment: eight wait for the upstream, which is slow, and only the others are put off."""
    bench.rules('[[rules]]\nname = "press"\non = "task.succeeded"\npress = "U1"\n')
    bench.upstream.unknown_gate.clear()
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda *_, **__: 3600.0)
    for number in range(16):
        await bench.callback(f"forged-{number}", forged=True)
    await bench.start()

    async def in_state(state: str) -> int:
        return sum(one.state == state for one in await bench.deliveries())

    async def are_put_off() -> bool:
        return await in_state("waiting") == 8

    async def are_refuted() -> bool:
        return await in_state("done") == 8

    await bench.until(are_put_off)
    bench.upstream.unknown_gate.set()
    await bench.until(are_refuted)
    assert await in_state("waiting") == 8


async def test_a_window_that_is_forged_is_not_answered(bench: Any) -> None:
    """MODAL by callback, of a task that runs."""
    bench.rules('[[rules]]\nname = "answer"\non = "submission.needs_modal"\nmodal = { prompt = "x" }\n')
    await bench.start()
    bench.upstream.tasks["w"] = {"id": "w", "status": "SUBMITTED", "action": "ZOOM"}
    await bench.callback("w", forged=True, status="MODAL", action="ZOOM", buttons=[])
    assert "the callback says MODAL, the upstream SUBMITTED" in await decided(bench)
    assert bench.upstream.received == []


def test_a_thousand_forged_callbacks_press_nothing(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """With the valid token, against a real server; what is true beside them is pressed."""
    sandbox = start_sandbox("--speed", "20")
    server = start_server(toml=f'{UPSCALE_ALL}\n[upstreams.main]\nurl = "{sandbox.url}"\n')
    made = server.submit(kind="imagine", prompt="a cat")
    for number in range(1000):
        buttons = [{"customId": f"MJ::JOB::upsample::{n}::x", "label": f"U{n}"} for n in (1, 2, 3, 4)]
        task = {"id": f"forged-{number}", "status": "SUCCESS", "action": "IMAGINE", "buttons": buttons}
        assert server.http.post(server.hook, json=task).status_code == 200

    def quiet() -> bool:
        waiting = [
            server.get(f"/api/deliveries?state={state}")["deliveries"] for state in ("waiting", "running")
        ]
        done = [
            task
            for task in server.get(f"/api/chains/{made['chain_id']}")["tasks"]
            if task["status"] == "SUCCESS"
        ]
        return not any(waiting) and len(done) == 5

    eventually(quiet)
    assert len(sandbox.accepted("/action")) == 4
    assert [entry for entry in sandbox.ledger()["submissions"] if "forged" in str(entry["body"])] == []
    assert len(server.get("/api/submissions?limit=500")["submissions"]) == 5
    assert server.get("/api/tasks/main/forged-7")["status"] == "REFUTED"
