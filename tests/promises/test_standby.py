"""The primary PostgreSQL is lost and its synchronous standby takes over: nothing that was answered is lost, nothing is
paid for twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from storage.migrate import migrate
from storage.schema import SCHEMA
from tests.conftest import PATIENCE_S
from tests.support import standby
from tests.support.caller import Caller

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("standby")]

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
UPSTREAM = """
[budget]
per_hour = 100_000

[upstreams.main]
url = "{url}"
concurrency = 8
timeout_s = 3
settle_after_s = 1.0
look_after_s = 0.5
quiet_s = 1.0
"""
CHAINS = 100


@pytest.fixture
def pair() -> Iterator[standby.Pair]:
    """Two servers with the schema of this release."""
    with standby.running() as pair:
        migrate(pair.url)
        yield pair


def submit_all(address: str, chains: int) -> None:
    """Ask for each picture until it is accepted, under a key of its own."""
    with httpx.Client(base_url=address, timeout=PATIENCE_S, verify=False, trust_env=False) as http:
        for number in range(chains):
            body = {"kind": "imagine", "prompt": f"cat {number}"}
            while (
                http.post(
                    "/api/submissions", json=body, headers={"idempotency-key": f"cat-{number}"}
                ).status_code
                == 503
            ):
                time.sleep(0.1)  # the database has gone: nothing of it can be awaited


def test_a_standby_takes_over_and_every_chain_is_complete_and_paid_once(
    start_sandbox: Any,
    start_server: Any,
    start_worker: Any,
    eventually: Any,
    tmp_path: Path,
    pair: standby.Pair,
) -> None:
    """One that receives and two that work find the new primary by themselves, by an address with both hosts."""
    sandbox = start_sandbox("--speed", "6", "--concurrency", "12", "--queue", str(5 * CHAINS))
    (tmp_path / "hookchain.toml").write_text(RULES + UPSTREAM.format(url=sandbox.url))
    web = start_server(
        command=["-m", "hookchain", "serve", "--no-worker", "--port", "0"], DATABASE_URL=pair.url
    )
    workers = [start_worker(DATABASE_URL=pair.url) for _ in range(2)]
    caller = Caller(web.hook)
    submitting = threading.Thread(target=submit_all, args=(web.url, CHAINS), daemon=True)
    submitting.start()
    eventually(lambda: len(sandbox.accepted("/action")) >= CHAINS)

    pair.fail_over()
    assert len(sandbox.accepted("/action")) < 4 * CHAINS, "the primary is lost while chains grow"
    submitting.join()
    eventually(lambda: web.http.get("/readyz").status_code == 200)
    eventually(lambda: caller.answers[-1][1] == 200)
    caller.stop()

    def complete() -> bool:
        tasks = web.get("/api/tasks?status=SUCCESS&limit=500")["tasks"]
        return len([task for task in tasks if task["chain_id"]]) == 5 * CHAINS

    eventually(complete)
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    pressed = Counter((body["taskId"], body["customId"]) for body in sandbox.accepted("/action"))
    assert imagined == {f"cat {number}": 1 for number in range(CHAINS)}
    assert (len(pressed), set(pressed.values())) == (4 * CHAINS, {1})
    answered = {f"foreign-{number}" for number, status in caller.answers if status == 200}
    with psycopg.connect(pair.standby.url) as connection:
        rows = connection.execute(f"SELECT task_id FROM {SCHEMA}.events WHERE source = 'callback'")
        assert answered <= {task_id for (task_id,) in rows}
    for process in (web, *workers):
        assert process.is_running
        assert "Traceback" not in process.output
