"""The main job with real processes: a server, a sandbox, and the sandbox's ledger as the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
UPSCALE_ALL = (ROOT / "hookchain.toml").read_text()
CUSTOM_ZOOM = (ROOT / "examples" / "answer-modal.toml").read_text()
SPEED = ("--speed", "20", "--seed", "7")
FAULTS = ["", "duplicate,shuffle", "rough"]
IMPATIENT = """
[upstreams.main]
url = "{url}"
timeout_s = 3
settle_after_s = 0.5
look_after_s = 0.5
quiet_s = 0.7
"""
"""A server that asks and settles as soon as a fast sandbox allows."""


def start_with(start_server: Any, toml: str, sandbox: Any) -> Any:
    return start_server(toml=toml + IMPATIENT.format(url=sandbox.url))


def chain_of(server: Any, submission: dict[str, Any]) -> Any:
    return server.get(f"/api/chains/{submission['chain_id']}")


def tasks_in(server: Any, submission: dict[str, Any], status: str) -> list[dict[str, Any]]:
    return [task for task in chain_of(server, submission)["tasks"] if task["status"] == status]


def rests(server: Any, submission: dict[str, Any]) -> bool:
    """Everything that was asked for has ended, and no receiver is due."""
    chain = chain_of(server, submission)
    busy = [
        delivery
        for delivery in server.get("/api/deliveries?limit=500")["deliveries"]
        if delivery["state"] in ("waiting", "running")
    ]
    open_ = [one for one in chain["submissions"] if one["state"] in ("waiting", "sending", "uncertain")]
    return not busy and not open_ and all(task["status"] == "SUCCESS" for task in chain["tasks"])


@pytest.mark.parametrize("faults", FAULTS)
def test_an_imagine_gives_exactly_four_upscales(
    start_sandbox: Any, start_server: Any, eventually: Any, faults: str
) -> None:
    """With every callback sent three times and shuffled too: each U once, by its own customId, lineage recorded."""
    sandbox = start_sandbox(*SPEED, "--faults", faults)
    server = start_with(start_server, UPSCALE_ALL, sandbox)
    submission = server.submit(kind="imagine", prompt="a cat")
    eventually(
        lambda: len(tasks_in(server, submission, "SUCCESS")) == 5 and rests(server, submission),
    )
    root, *children = chain_of(server, submission)["tasks"]
    grid = sandbox.http.get(f"/mj/task/{root['id']}/fetch").json()
    offered = {button["customId"] for button in grid["buttons"] if "::upsample::" in button["customId"]}
    pressed = [body["customId"] for body in sandbox.accepted("/action")]
    assert len(pressed) == 4
    assert set(pressed) == offered
    assert all(body["taskId"] == root["id"] for body in sandbox.accepted("/action"))
    assert {(child["parent_id"], child["depth"], child["chain_id"]) for child in children} == {
        (root["id"], 1, submission["chain_id"])
    }
    assert sandbox.ledger()["billed"]["action"] == 4
    assert sandbox.ledger()["billed"]["imagine"] == 1


def test_over_their_quota_callbacks_still_move_chains(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Every hook may have 600 bytes kept. The rest of an honest burst is asked about, and each chain is pressed once."""
    sandbox = start_sandbox(*SPEED)
    toml = UPSCALE_ALL + IMPATIENT.format(url=sandbox.url)
    server = start_server(toml=toml, HOOKCHAIN_QUOTAS_BYTES_PER_HOUR=str(16 * 600))
    submissions = [server.submit(kind="imagine", prompt=f"cat {number}") for number in range(5)]
    eventually(lambda: all(len(tasks_in(server, one, "SUCCESS")) == 5 for one in submissions))
    eventually(lambda: all(rests(server, one) for one in submissions))
    assert len(sandbox.accepted("/action")) == 20
    (upstream,) = server.get("/api/upstreams")["upstreams"]
    assert upstream["quota"]["asked_instead"] > 0


@pytest.mark.parametrize("faults", FAULTS)
def test_a_window_gets_exactly_one_answer(
    start_sandbox: Any, start_server: Any, eventually: Any, faults: str
) -> None:
    """U1, Custom Zoom, code 21, one modal with the rule's prompt, the child; duplicated and shuffled too."""
    sandbox = start_sandbox(*SPEED, "--faults", faults)
    server = start_with(start_server, CUSTOM_ZOOM, sandbox)
    submission = server.submit(kind="imagine", prompt="a cat")
    eventually(
        lambda: len(tasks_in(server, submission, "SUCCESS")) == 3 and rests(server, submission),
    )
    root, upscale, zoom = chain_of(server, submission)["tasks"]
    (modal,) = sandbox.accepted("/modal")
    assert (modal["taskId"], modal["prompt"]) == (zoom["id"], "a cat --zoom 1.8")
    assert (upscale["parent_id"], zoom["parent_id"]) == (root["id"], upscale["id"])
    assert [task["depth"] for task in (root, upscale, zoom)] == [0, 1, 2]
    assert sandbox.ledger()["billed"]["modal"] == 1


def test_tasks_of_others_that_call_the_registered_hook_are_followed(
    start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """Somebody else submits with our URL as notifyHook: a chain of its own, and its four upscales."""
    sandbox = start_sandbox(*SPEED)
    server = start_server(toml=UPSCALE_ALL, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    made = sandbox.http.post("/mj/submit/imagine", json={"prompt": "a dog", "notifyHook": server.hook}).json()
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 5)
    root = server.get(f"/api/tasks/main/{made['result']}")
    assert (root["depth"], root["submission_id"]) == (0, None)
    assert len(server.get(f"/api/chains/{root['chain_id']}")["tasks"]) == 5
    assert len(sandbox.accepted("/action")) == 4


@pytest.mark.parametrize("faults", [pytest.param("", marks=pytest.mark.soak), "rough"])
def test_more_than_the_upstream_can_queue_is_pressed_in_the_end(
    start_sandbox: Any, start_server: Any, eventually: Any, faults: str
) -> None:
    """Four grids at once, one place to run and one to wait: code 23 again and again, and sixteen upscales."""
    options = ("--speed", "10", "--seed", "5", "--concurrency", "1", "--queue", "1", "--faults", faults)
    sandbox = start_sandbox(*options)
    server = start_with(start_server, UPSCALE_ALL, sandbox)
    for number in range(4):
        server.submit(kind="imagine", prompt=f"cat {number}")
    eventually(
        lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 20,
    )
    codes = [entry["code"] for entry in sandbox.ledger()["submissions"]]
    assert 23 in codes
    assert sandbox.ledger()["billed"]["action"] == 16


def test_sigterm_ends_the_server_cleanly(start_sandbox: Any, start_server: Any) -> None:
    """Exit code 0, and the next start finds nothing uncertain."""
    sandbox = start_sandbox(*SPEED)
    server = start_server(toml=UPSCALE_ALL, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    server.submit(kind="imagine", prompt="a cat")
    assert server.stop() == 0
    again = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    assert again.get("/api/submissions?state=uncertain")["submissions"] == []
    assert "Traceback" not in server.output
