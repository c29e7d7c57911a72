"""`kill -9` between a callback and its follow-ups: nothing lost, nothing doubled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S

ROOT = Path(__file__).parent.parent.parent
RULES = (ROOT / "hookchain.toml").read_text()
CRASHING = str(Path(__file__).parent / "crashing_server.py")
POINTS = ["ingest", "fan_out", "claim_delivery", "finish_delivery", "begin_attempt", "settle_attempt"]
SPENDING = (
    "ingest",
    "begin_attempt",
    "settle_attempt",
)  # the others: tests/dispatcher/test_crash_points.py, in less time


def finished_grid(sandbox: Any, eventually: Any) -> bytes:
    """The SUCCESS payload of a grid that the sandbox has made for somebody who registered no hook."""
    made = sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()
    path = f"/mj/task/{made['result']}/fetch"
    eventually(lambda: sandbox.http.get(path).json()["status"] == "SUCCESS")
    payload: bytes = sandbox.http.get(path).content
    return payload


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        pytest.param(name, stage, marks=[] if name in SPENDING else [pytest.mark.soak])
        for name in POINTS
        for stage in ("before", "after")
    ],
)
def test_a_crash_at_any_transaction_loses_and_doubles_nothing(
    start_sandbox: Any, start_server: Any, eventually: Any, stage: str, name: str
) -> None:
    """The grid's SUCCESS arrives, the process dies at the transaction, starts again: each U exactly once."""
    sandbox = start_sandbox("--speed", "50", "--seed", "3")
    toml = f'{RULES}\n[upstreams.main]\nurl = "{sandbox.url}"\nsettle_after_s = 1.0\n'
    crashing = start_server(toml=toml, command=[CRASHING, stage, name])
    payload = finished_grid(sandbox, eventually)  # what was there before the first start is history
    answered = _post(crashing.hook, payload)
    assert crashing.wait() == -9
    server = start_server()
    if stage == "before" and not answered:
        # It was not kept, and the sender does not try again: what asks the upstream would bring it.
        assert _post(server.hook, payload)
    eventually(lambda: len(server.get("/api/submissions?state=accepted")["submissions"]) == 4)
    pressed = [body["customId"].split("::")[3] for body in sandbox.accepted("/action")]
    assert sorted(pressed) == ["1", "2", "3", "4"]
    assert sandbox.ledger()["billed"]["action"] == 4
    assert server.get("/api/deliveries?state=done")["deliveries"]


def _post(hook: str, payload: bytes) -> bool:
    """Whether it was answered 200."""
    try:
        return httpx.post(hook, content=payload, timeout=PATIENCE_S, verify=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("faults", [pytest.param("", marks=pytest.mark.soak), "rough"])
def test_killed_again_and_again_a_chain_still_ends_right(
    start_sandbox: Any, start_server: Any, eventually: Any, faults: str
) -> None:
    """The server is killed whenever it has kept two events more; each time a new one goes on."""
    sandbox = start_sandbox("--speed", "2", "--seed", "3", "--faults", faults)
    toml = f'{RULES}\n[upstreams.main]\nurl = "{sandbox.url}"\nsettle_after_s = 1.0\nquiet_s = 1.0\ntimeout_s = 3\n'
    server = start_server(toml=toml)
    port = server.url.rsplit(":")[-1]
    submission = server.submit(kind="imagine", prompt="a cat")
    path = f"/api/submissions/{submission['id']}"
    task_id = eventually(partial(_made, server, path))
    kept = 0
    for _ in range(3):
        kept = eventually(partial(_kept, server, sandbox, task_id, kept + 2))
        server.kill()
        server = start_server(command=["-m", "hookchain", "serve", "--port", port])
    # What was sent while no server listened is lost, as it is with the real servers: we ask for it.
    chain = f"/api/submissions?chain_id={submission['chain_id']}&state=accepted"
    eventually(lambda: len(server.get(chain)["submissions"]) == 5)
    billed = sandbox.ledger()["billed"]
    assert (billed["imagine"], billed["action"]) == (1, 4)


def _made(server: Any, path: str) -> Any:
    return (server.get(path)["task_ids"] or [""])[0]


def _fetched(sandbox: Any, task_id: str) -> Any:
    return sandbox.http.get(f"/mj/task/{task_id}/fetch").json()


def _kept(server: Any, sandbox: Any, task_id: str, wanted: int) -> int:
    """How many events there are, once there are `wanted`, or no more will come."""
    ended = _fetched(sandbox, task_id)["status"] == "SUCCESS"
    count = len(server.get(f"/api/events?limit=500&task_id={task_id}")["events"])
    return count + 1 if count >= wanted or ended else 0
