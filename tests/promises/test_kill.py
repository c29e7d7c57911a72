"""`kill -9` at any moment, again and again, on a rough upstream: by its ledger, nothing is lost and nothing twice."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
UPSTREAM = """
[upstreams.main]
url = "{url}"
concurrency = 8
timeout_s = 3
settle_after_s = 1.0
list_lag_s = 3
look_after_s = 0.5
quiet_s = 1.0
"""
SEED = 20
SPEED = "1.2"
"""At which the jobs alone, 12 at once, take longer than the kills: each of them meets open work."""
SIZES = [
    pytest.param(30, 5, id="30 chains, 5 kills"),
    pytest.param(200, 50, id="200 chains, 50 kills", marks=pytest.mark.soak),
]


def submit_all(address: str, numbers: Iterable[int], given_up: threading.Event) -> None:
    """Ask for each picture until the server answers: it may die before it does, so each has a key of its own."""
    with httpx.Client(base_url=address, timeout=PATIENCE_S, verify=False, trust_env=False) as http:
        for number in numbers:
            body = {"kind": "imagine", "prompt": f"cat {number}"}
            while not _accepted(http, body, f"cat-{number}") and not given_up.is_set():
                time.sleep(0.1)  # it is being started again: nothing of it can be awaited


def _accepted(http: httpx.Client, body: dict[str, Any], key: str) -> bool:
    try:
        answer = http.post("/api/submissions", json=body, headers={"idempotency-key": key})
    except httpx.HTTPError:
        return False
    assert answer.status_code in (200, 202, 503), answer.text
    return answer.status_code != 503


@pytest.mark.parametrize(("chains", "kills"), SIZES)
def test_killed_at_random_moments_every_chain_is_complete_and_nothing_is_paid_twice(
    start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path, chains: int, kills: int
) -> None:
    """While chains are submitted and grow; prints what happened."""
    began, moments = time.monotonic(), random.Random(SEED)
    faults = ("--faults", "rough", "--seed", str(SEED))
    sandbox = start_sandbox("--speed", SPEED, "--concurrency", "12", "--queue", str(5 * chains), *faults)
    server = start_server(toml=RULES + UPSTREAM.format(url=sandbox.url))
    port = server.url.rsplit(":", 1)[-1]
    given_up, at_work = threading.Event(), 0
    submit_all(server.url, [0], given_up)
    eventually(lambda: server.get("/api/tasks")["tasks"])  # a list can disprove what is younger than this one
    submitting = threading.Thread(target=submit_all, args=(server.url, range(1, chains), given_up))
    submitting.start()
    try:
        for _ in range(kills):
            time.sleep(moments.uniform(0.1, 2.0))  # any moment is what is wanted
            server.kill()
            at_work += len(ended(tmp_path)) < 5 * chains
            server = start_server(command=["-m", "hookchain", "serve", "--port", port])
    except BaseException:
        given_up.set()
        raise
    submitting.join()

    def finished() -> bool:
        return len(ended(tmp_path)) == 5 * chains

    eventually(finished, within_s=3 * PATIENCE_S)
    ledger = sandbox.ledger()
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    # By what is pressed alone: its task may have two ids.
    pressed = Counter(body["customId"] for body in sandbox.accepted("/action"))
    with closing(sqlite3.connect(tmp_path / "hookchain.db")) as database:
        (events,) = database.execute("SELECT count(*) FROM events WHERE source = 'callback'").fetchone()
        (attempts,) = database.execute("SELECT count(*) FROM attempts").fetchone()
        (doubted,) = database.execute(
            "SELECT count(DISTINCT submission_id) FROM attempts WHERE outcome IN ('interrupted', 'uncertain')"
        ).fetchone()
    doubled = sum(count - 1 for count in (imagined + pressed).values())
    print(
        f"\nseed {SEED}: {chains} chains, {kills} kills, {at_work} of them at work; {events} callbacks kept,"
        f" {ledger['callbacks_taken']} of {ledger['callbacks']} answered 200; {len(ledger['submissions'])} submissions sent,"
        f" {attempts} attempts, {doubted} uncertain ones settled; accepted: {len(imagined)} imagines, {len(pressed)} presses;"
        f" lost {5 * chains - len(imagined) - len(pressed)}, doubled {doubled}; {time.monotonic() - began:.0f} s"
    )
    assert at_work == kills
    assert events >= ledger["callbacks_taken"]  # more: some were kept, and the answer was lost to a kill
    assert imagined == {f"cat {number}": 1 for number in range(chains)}
    assert len(pressed) == 4 * chains
    assert set(pressed.values()) == {1}
    pictures = [custom_id.rpartition("::")[2] for custom_id in pressed]
    assert Counter(pictures) == dict.fromkeys(pictures, 4)
    assert server.get("/api/dead-letters")["dead_letters"] == []
    eventually(
        lambda: server.get("/api/uncertain")["uncertain"] == []
    )  # a task may end before its answer is settled


def ended(directory: Path) -> list[str]:
    """Tasks that ended well, as the database has them: the server may be busy, or dead."""
    with closing(sqlite3.connect(directory / "hookchain.db", timeout=PATIENCE_S)) as database:
        rows = database.execute("SELECT id FROM tasks WHERE status = 'SUCCESS' AND chain_id IS NOT NULL")
        return [task_id for (task_id,) in rows]
