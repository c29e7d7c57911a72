"""Two that receive and two that work, on one PostgreSQL, killed again and again: by the upstream's ledger, nothing is
lost, nothing is twice, and no limit of the upstream is exceeded."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from storage.schema import SCHEMA
from tests.conftest import PATIENCE_S

RULES = (Path(__file__).parent.parent.parent / "hookchain.toml").read_text()
CONCURRENCY, JOBS, RATE = 4, 10, 60
# The time-out is longer than the sandbox holds an answer back: what is given up here is still under way there.
UPSTREAM = f"""
[budget]
per_hour = 100_000

[upstreams.main]
url = "{{url}}"
concurrency = {CONCURRENCY}
jobs = {JOBS}
rate = {RATE}
timeout_s = 10
settle_after_s = 1.0
list_lag_s = 3
look_after_s = 0.5
quiet_s = 1.0
"""
SEED = 31
SIZES = [
    pytest.param(16, 3, id="16 chains, 3 kills of each kind"),
    pytest.param(300, 30, id="300 chains, 30 kills of each kind", marks=pytest.mark.soak),
]


class Site:
    """The four processes, and where the two that receive listen."""

    def __init__(self, start_server: Any, start_worker: Any, url: str) -> None:
        self._environment = {"DATABASE_URL": url}
        self._start_server, self._start_worker = start_server, start_worker
        self.webs = [self._web("0"), self._web("0")]
        self.workers = [start_worker(**self._environment) for _ in range(2)]

    def _web(self, port: str) -> Any:
        command = ["-m", "hookchain", "serve", "--no-worker", "--port", port]
        return self._start_server(command=command, **self._environment)

    def kill(self, number: int) -> None:
        """One of each kind, with kill -9; others take their places."""
        web, worker = number % 2, number // 2 % 2
        port = self.webs[web].url.rsplit(":", 1)[-1]
        self.webs[web].kill()
        self.workers[worker].kill()
        self.webs[web] = self._web(port)
        self.workers[worker] = self._start_worker(**self._environment)

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """End all four, and start them again once something was done."""
        ports = [web.url.rsplit(":", 1)[-1] for web in self.webs]
        for process in (*self.webs, *self.workers):
            process.kill()
        meanwhile()
        self.webs = [self._web(port) for port in ports]
        self.workers = [self._start_worker(**self._environment) for _ in self.workers]


def submit_all(addresses: list[str], numbers: Iterable[int]) -> None:
    """Ask for each picture, at one and then the other, until one answers."""
    turns = itertools.cycle(addresses)
    with httpx.Client(timeout=PATIENCE_S, verify=False, trust_env=False) as http:
        for number in numbers:
            while not _accepted(http, next(turns), number):
                time.sleep(0.05)  # it is being started again: nothing of it can be awaited


def _accepted(http: httpx.Client, address: str, number: int) -> bool:
    body = {"kind": "imagine", "prompt": f"cat {number}"}
    headers = {"idempotency-key": f"cat-{number}"}
    try:
        answer = http.post(f"{address}/api/submissions", json=body, headers=headers)
    except httpx.HTTPError:
        return False
    assert answer.status_code in (200, 202, 503), answer.text
    return answer.status_code != 503


def ended(url: str) -> int:
    """Tasks of ours that ended well, as the database has them."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM {SCHEMA}.tasks WHERE status = 'SUCCESS' AND chain_id IS NOT NULL"
        ).fetchone()
        assert row is not None
        return int(row[0])


def told_as_ended_ms(url: str) -> dict[str, int]:
    """By submission, when a callback first said that its task had ended: truly, falsely, or forged. Its place is free then, until
    the upstream says otherwise."""
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "SELECT t.submission_id, min(e.received_at_ms)"
                f" FROM {SCHEMA}.tasks t JOIN {SCHEMA}.events e ON e.upstream = t.upstream AND e.task_id = t.id"
                " WHERE e.status IN ('SUCCESS', 'FAILURE', 'CANCEL') AND t.submission_id IS NOT NULL"
                " GROUP BY t.submission_id"
            ).fetchall()
        )


def most_jobs(sandbox: Any, ended_ms: Mapping[str, int]) -> int:
    """How many jobs ran at once at the most, by the upstream's own times. One counts until it ends or is told to have ended."""
    jobs: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/mj/task/list").json()
    at_once: list[int] = [
        sum(
            job["startTime"] <= at_ms < min(job["finishTime"], ended_ms.get(job["state"], job["finishTime"]))
            for job in jobs
        )
        for at_ms in (job["startTime"] for job in jobs)
    ]
    return max(at_once)


def left_over(url: str) -> list[Any]:
    """Whatever is not at its end, or came to a bad one."""
    with psycopg.connect(url) as connection:
        dead = connection.execute(
            f"SELECT id, error FROM {SCHEMA}.deliveries WHERE state <> 'done'"
        ).fetchall()
        states = "('waiting', 'sending', 'uncertain', 'dead', 'refused')"
        return [
            *dead,
            *connection.execute(f"SELECT id, state FROM {SCHEMA}.submissions WHERE state IN {states}"),
        ]


def most_in_a_second(times_ms: list[int]) -> int:
    """The largest number of these moments that lie within one second."""
    times_ms = sorted(times_ms)
    return max(sum(begin <= at < begin + 1000 for at in times_ms) for begin in times_ms)


@pytest.mark.parametrize(("chains", "kills"), SIZES)
def test_processes_are_killed_and_every_chain_is_complete_within_the_limits(
    start_sandbox: Any,
    start_server: Any,
    start_worker: Any,
    eventually: Any,
    tmp_path: Path,
    postgres_url: str,
    chains: int,
    kills: int,
) -> None:
    """While chains are submitted and grow; prints what happened."""
    began, moments = time.monotonic(), random.Random(SEED)
    faults = ("--faults", "rough", "--seed", str(SEED))
    sandbox = start_sandbox("--speed", "8", "--concurrency", "50", "--queue", str(5 * chains), *faults)
    (tmp_path / "hookchain.toml").write_text(RULES + UPSTREAM.format(url=sandbox.url))
    site = Site(start_server, start_worker, postgres_url)
    addresses = [web.url for web in site.webs]
    submit_all(addresses, [0])
    eventually(
        lambda: site.webs[0].get("/api/tasks")["tasks"]
    )  # a list can disprove what is younger than this one
    submitting = threading.Thread(target=submit_all, args=(addresses, range(1, chains)), daemon=True)
    submitting.start()
    for number in range(kills):
        time.sleep(moments.uniform(0.5, 3.0))  # any moment is what is wanted
        site.kill(number)
    submitting.join()
    eventually(lambda: ended(postgres_url) == 5 * chains, within_s=3 * PATIENCE_S)

    ledger = sandbox.ledger()
    imagined = Counter(body["prompt"] for body in sandbox.accepted("/imagine"))
    # By what is pressed alone: its task may have two ids.
    pressed = Counter(body["customId"] for body in sandbox.accepted("/action"))
    busiest = most_in_a_second([one["at_ms"] for one in ledger["submissions"]])
    doubled = sum(count - 1 for count in (imagined + pressed).values())
    print(
        f"\nseed {SEED}: {chains} chains, {kills} kills of each kind; {len(ledger['submissions'])} requests,"
        f" {len(imagined)} imagines and {len(pressed)} presses accepted;"
        f" lost {5 * chains - len(imagined) - len(pressed)}, doubled {doubled}; at most"
        f" {ledger['submitting_max']} requests at once (limit {CONCURRENCY}), {ledger['running_max']} jobs"
        f" (limit {JOBS}), {busiest} requests a second (limit {RATE} + {RATE} saved); {time.monotonic() - began:.0f} s"
    )
    assert imagined == {f"cat {number}": 1 for number in range(chains)}
    assert len(pressed) == 4 * chains
    assert set(pressed.values()) == {1}
    assert ledger["submitting_max"] <= CONCURRENCY
    # What is falsely told to have ended has no place any more, and runs on.
    assert most_jobs(sandbox, told_as_ended_ms(postgres_url)) <= JOBS
    assert busiest <= 2 * RATE
    eventually(lambda: not left_over(postgres_url))  # an answer may come after its task has ended
    for process in (*site.webs, *site.workers):
        assert "Traceback" not in process.output
