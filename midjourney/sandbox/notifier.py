"""Sends callbacks as the real servers do: once, without order, from a small pool, and forgets what fails.

The body is serialised when its turn comes, not when the state changed (novicezk 2.6, Plus 3.7.5), so a slow receiver
sees one state twice and another never.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

import httpx
import msgspec

from midjourney.sandbox.engine import Job
from midjourney.sandbox.faults import Faults, is_dropped, shuffled
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.wire import Task

log = logging.getLogger(__name__)

_ENDS = ("SUCCESS", "FAILURE", "CANCEL")


class Notifier:
    """An unbounded queue before a pool of workers. `hook` is for tasks that carry none."""

    def __init__(self, *, workers: int, hook: str, faults: Faults, ledger: Ledger, seed: int) -> None:
        self._workers = workers
        self._hook = hook
        self._faults = faults
        self._ledger = ledger
        self._seed = seed
        self._queue: asyncio.Queue[tuple[str, Job, Task | None, str]] = asyncio.Queue()
        self._held: defaultdict[str, list[Task]] = defaultdict(list)
        self._changes: defaultdict[str, int] = defaultdict(int)

    def notify(self, job: Job) -> None:
        """The job changed: queue its callbacks, faults included. NOT_START and MODAL are never told."""
        hook = job.order.notify_hook or self._hook
        if not hook or job.task.status in ("NOT_START", "MODAL"):
            return
        self._changes[job.task.id] += 1
        if not self._faults.shuffled:
            for copy in range(self._faults.copies):
                self._put(hook, job, None, f"{self._changes[job.task.id]}.{copy}")
            return
        self._held[job.task.id] += [job.task] * self._faults.copies
        if job.task.status in _ENDS:
            held = self._held.pop(job.task.id)
            for place, snapshot in enumerate(shuffled(held, self._seed, job.uuid)):
                self._put(hook, job, snapshot, f"s{place}")

    def _put(self, hook: str, job: Job, snapshot: Task | None, mark: str) -> None:
        if not is_dropped(self._faults, self._seed, job.uuid, mark):
            self._queue.put_nowait((hook, job, snapshot, mark))

    async def run(self) -> None:
        """Send until cancelled. There is no time-out: a receiver that hangs blocks a worker for ever."""
        limits = httpx.Limits(max_connections=self._workers, max_keepalive_connections=self._workers)
        async with (
            httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as workers,
        ):
            for _ in range(self._workers):
                workers.create_task(self._work(http))

    async def _work(self, http: httpx.AsyncClient) -> None:
        while True:
            hook, job, snapshot, _ = await self._queue.get()
            body = msgspec.json.encode(snapshot or job.task)
            self._ledger.count_callback()
            try:
                answer = await http.post(hook, content=body, headers={"content-type": "application/json"})
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                log.warning("callback of task %s failed, and is not sent again: %r", job.task.id, error)
                continue
            if not answer.is_success:
                log.warning("callback of task %s was answered %s", job.task.id, answer.status_code)
