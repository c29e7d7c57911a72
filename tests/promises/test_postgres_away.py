"""PostgreSQL is restarted in the middle: refused while it is away, then everything goes on, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage.migrate import migrate
from storage.schema import SCHEMA
from tests.support import postgres
from tests.support.caller import Caller

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
CHAINS = 20


@pytest.fixture
def durable_server() -> Iterator[postgres.Server]:
    """A PostgreSQL of the test's own, as users run it."""
    with postgres.running() as server:
        migrate(server.url)
        yield server


def test_postgres_restarts_and_all_recovers_without_a_restart_of_ours(
    start_sandbox: Any,
    start_server: Any,
    start_worker: Any,
    eventually: Any,
    tmp_path: Path,
    durable_server: postgres.Server,
) -> None:
    """Chains grow and a sender calls all the while. What was answered 200 is there at the end; what was refused of our
    own tasks was asked for."""
    url = durable_server.url
    sandbox = start_sandbox("--speed", "6", "--concurrency", "12", "--queue", "200")
    (tmp_path / "hookchain.toml").write_text(RULES + UPSTREAM.format(url=sandbox.url))
    web = start_server(command=["-m", "hookchain", "serve", "--no-worker", "--port", "0"], DATABASE_URL=url)
    worker = start_worker(DATABASE_URL=url)
    for number in range(CHAINS):
        web.submit(kind="imagine", prompt=f"cat {number}")
    eventually(lambda: sandbox.accepted("/imagine"))
    caller = Caller(web.hook)
    eventually(lambda: len(caller.answers) > 20)

    durable_server.stop()
    eventually(lambda: [status for _, status in caller.answers[-5:]] == [503] * 5)
    assert web.http.get("/healthz").status_code == 200
    assert web.http.get("/readyz").status_code == 503
    assert web.http.get("/api/tasks").status_code == 503
    durable_server.start()
    eventually(lambda: caller.answers[-1][1] == 200)
    eventually(lambda: web.http.get("/readyz").status_code == 200)
    caller.stop()

    def complete() -> bool:
        tasks = web.get("/api/tasks?status=SUCCESS&limit=200")["tasks"]
        return len([task for task in tasks if task["chain_id"]]) == 5 * CHAINS

    eventually(complete)
    pressed = Counter((body["taskId"], body["customId"]) for body in sandbox.accepted("/action"))
    assert len(sandbox.accepted("/imagine")) == CHAINS
    assert (len(pressed), set(pressed.values())) == (4 * CHAINS, {1})
    answered = {f"foreign-{number}" for number, status in caller.answers if status == 200}
    with psycopg.connect(url) as connection:
        kept = {
            row[0]
            for row in connection.execute(f"SELECT task_id FROM {SCHEMA}.events WHERE source = 'callback'")
        }
    assert answered <= kept
    assert {status for _, status in caller.answers} == {200, 503}
    assert web.is_running
    assert worker.is_running
    for process in (web, worker):
        assert "Traceback" not in process.output, process.output[process.output.index("Traceback") :][:6000]
