"""Minutes of faults: many chains at once, seed after seed. Run by `make soak`; a short version is among the others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
UPSCALE_ALL = (ROOT / "hookchain.toml").read_text()
UPSTREAM = """
[upstreams.main]
url = "{url}"
dialect = "{dialect}"
timeout_s = 3
settle_after_s = 0.5
look_after_s = 0.5
quiet_s = 0.7
"""
CHAINS = 8
DIALECTS = ["mj-plus", "novicezk", "trueai"]
SHORT = (1, "mj-plus")  # one rough chain in each dialect is in test_dialects.py
CASES = [
    pytest.param(seed, dialect, marks=() if (seed, dialect) == SHORT else pytest.mark.soak)
    for seed in range(1, 21)
    for dialect in DIALECTS
]


def finished(server: Any) -> list[dict[str, Any]]:
    """The tasks of our submissions that are finished: until it is refuted, a task that a forger invented looks finished too."""
    tasks = server.get("/api/tasks?status=SUCCESS&limit=500")["tasks"]
    return [task for task in tasks if task["submission_id"]]


@pytest.mark.parametrize(("seed", "dialect"), CASES)
def test_nothing_is_lost_and_nothing_is_paid_twice(
    start_sandbox: Any, start_server: Any, eventually: Any, seed: int, dialect: str
) -> None:
    """Chains beside each other on a rough server: each image of each grid once, by the sandbox's ledger."""
    options = ("--dialect", dialect, "--speed", "40", "--seed", str(seed), "--queue", "30")
    sandbox = start_sandbox(*options, "--faults", "rough")
    server = start_server(toml=UPSCALE_ALL + UPSTREAM.format(url=sandbox.url, dialect=dialect))
    for number in range(CHAINS):
        server.submit(kind="imagine", prompt=f"cat {number}")
    eventually(lambda: len(finished(server)) == 5 * CHAINS)
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    assert imagined == {f"cat {number}": 1 for number in range(CHAINS)}
    upscaled = Counter(
        (body["taskId"], body.get("customId") or body["index"])
        for body in sandbox.accepted("/action") + sandbox.accepted("/change")
    )
    assert len(upscaled) == 4 * CHAINS
    assert set(upscaled.values()) == {1}
    assert server.get("/api/dead-letters")["dead_letters"] == []
