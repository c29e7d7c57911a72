"""Each fault of the sandbox alone: every chain complete, nothing lost, nothing twice, by the sandbox's own ledger."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from midjourney.sandbox.faults import SWITCHES
from tests.conftest import PATIENCE_S

UPSCALE_ALL = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
UPSTREAM = """
[upstreams.main]
url = "{url}"
timeout_s = 3
settle_after_s = 0.5
look_after_s = 0.3
quiet_s = 0.7
"""
ENDED = {"SUCCESS", "FAILURE"}
FEW, MANY = 3, 50

# Faults that end tasks or refuse prompts for good: what they leave is complete when all that was made has ended.
FINAL = ("failure", "moderated", "task-timeout", "blocked", "banned")

# Of those the ones that keep the upstream from an imagine that was asked for, or from taking it.
UNSENT = ("blocked", "banned")

# Faults that need another to show: one that a restart sets off, and two of what is asked for when callbacks fail.
BESIDE = {"renotify": "forget=0.3", "short-batch": "drop=1", "stale": "drop=1"}


@pytest.mark.parametrize("chains", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("fault", SWITCHES)
def test_one_fault_alone_loses_and_doubles_nothing(
    start_sandbox: Any, start_server: Any, eventually: Any, fault: str, chains: int
) -> None:
    """With the probability that the fault has when it is only named; prints what happened."""
    began = time.monotonic()
    faults = ",".join(filter(None, (fault, BESIDE.get(fault))))
    options = ("--speed", "40", "--seed", "3", "--queue", str(5 * chains), "--faults", faults)
    sandbox = start_sandbox(*options)
    server = start_server(toml=UPSCALE_ALL + UPSTREAM.format(url=sandbox.url))
    made = [server.submit(kind="imagine", prompt=f"cat {number}") for number in range(chains)]
    ids = {one["chain_id"] for one in made}

    def complete() -> bool:
        is_paused = server.get("/api/upstreams")["upstreams"][0]["paused"]
        return all(is_complete(server.get(f"/api/chains/{one}"), fault, is_paused) for one in ids)

    eventually(complete, within_s=3 * PATIENCE_S)
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    pressed = Counter(body["customId"] for body in sandbox.accepted("/action"))
    grids = sum(
        task["depth"] == 0 and task["status"] == "SUCCESS"
        for chain_id in ids
        for task in server.get(f"/api/chains/{chain_id}")["tasks"]
    )
    lost = 4 * grids - len(pressed) + (0 if fault in UNSENT else chains - len(imagined))
    doubled = sum(count - 1 for count in (imagined + pressed).values())
    print(
        f"{fault}: {chains} chains, {len(imagined)} imagined, {len(pressed)} pressed, {lost} lost, {doubled} doubled,"
        f" {time.monotonic() - began:.0f} s"
    )
    assert lost == 0
    assert set(imagined.values()) <= {1}
    assert set(pressed.values()) <= {1}
    if fault == "blocked":  # by a failure that the upstream itself confirmed
        eventually(lambda: server.get("/api/upstreams")["upstreams"][0]["paused"])
    if fault not in FINAL:
        assert len(imagined) == chains
        assert len(pressed) == 4 * chains


def is_complete(chain: dict[str, Any], fault: str, is_paused: bool) -> bool:
    """Nothing is open any more; and all of it was made, unless the fault refuses for good.

    What waits at an upstream that hookchain paused is not open: only a person goes on with it.
    """
    tasks, asked = chain["tasks"], chain["submissions"]
    waits = is_paused and [one for one in asked if one["state"] == "waiting"]
    if any(one["state"] not in ("accepted", "rejected") for one in asked) and not waits:
        return False
    if any(task["status"] not in ENDED for task in tasks):
        return False
    if fault in FINAL:
        root = [task for task in tasks if task["depth"] == 0]
        grown = len(asked) == 5 or (root and root[0]["status"] == "FAILURE")
        return bool(grown or waits or [one for one in asked if one["state"] == "rejected"])
    return len(tasks) == 5
