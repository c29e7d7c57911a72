"""Sends callbacks as the real servers do: once, without order, from a small pool, and forgets what fails.

The body is serialised when its turn comes, not when the state changed (novicezk 2.6, Plus 3.7.5), so a slow receiver
sees one state twice and another never.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

import httpx
import msgspec

from midjourney.sandbox.engine import ENDED, Job
from midjourney.sandbox.faults import LATEST_S, Faults, shuffled
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.wire import Task

log = logging.getLogger(__name__)

Show = Callable[[Job, Task], bytes]
"""The body of a callback: a job, and the state of its task that is to be shown."""


class _Notice(msgspec.Struct, frozen=True):
    """The duty to make one POST; `snapshot` None: send what is true then."""

    hook: str
    job: Job
    snapshot: Task | None


class Notifier:
    """An unbounded queue before a pool of workers. `hook` is for tasks that carry none."""

    def __init__(
        self, *, workers: int, hook: str, faults: Faults, ledger: Ledger, speed: float, show: Show
    ) -> None:
        self._workers = workers
        self._hook = hook
        self._faults = faults
        self._ledger = ledger
        self._speed = speed
        self._show = show
        self._queue: asyncio.Queue[_Notice] = asyncio.Queue()
        self._held: defaultdict[str, list[Task]] = defaultdict(list)
        self._changes: defaultdict[str, int] = defaultdict(int)
        self._before: dict[str, Task] = {}
        self._delayed: set[asyncio.TimerHandle] = set()

    def notify(self, job: Job) -> None:
        """The job changed: queue its callbacks, faults included. NOT_START and MODAL are never told."""
        hook = str(job.task.properties["notifyHook"] or self._hook)
        if not hook or job.task.status in ("NOT_START", "MODAL"):
            return
        self._changes[job.task.id] += 1
        key = (job.uuid, self._changes[job.task.id])
        if self._faults.strikes("forget", *key):
            self.forget()
        copies = 3 if self._faults.strikes("duplicate", *key) else 1
        if self._faults.has("reorder"):
            self._hold(hook, job, copies)
        else:
            for copy in range(copies):
                self._put(_Notice(hook, job, None), *key, copy)
        self._after_success(hook, job, *key)
        if job.task.status == "IN_PROGRESS":
            self._before[job.task.id] = job.task

    def forget(self) -> None:
        """A restart of the server: what was queued, or came late, is never sent."""
        while not self._queue.empty():
            self._queue.get_nowait()
        for timer in self._delayed:
            timer.cancel()
        self._delayed.clear()
        self._held.clear()

    async def run(self) -> None:
        """Send until cancelled. There is no time-out: a receiver that hangs blocks a worker for ever."""
        limits = httpx.Limits(max_connections=self._workers, max_keepalive_connections=self._workers)
        async with (
            httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as workers,
        ):
            for _ in range(self._workers):
                workers.create_task(self._work(http))

    def _hold(self, hook: str, job: Job, copies: int) -> None:
        self._held[job.task.id] += [job.task] * copies
        if job.task.status in ENDED:
            held = self._held.pop(job.task.id)
            for place, snapshot in enumerate(shuffled(held, self._faults.seed, job.uuid)):
                self._put(_Notice(hook, job, snapshot), job.uuid, "held", place)

    def _after_success(self, hook: str, job: Job, *key: object) -> None:
        if job.task.status != "SUCCESS":
            return
        before = self._before.pop(job.task.id, None)
        if before is not None and self._faults.strikes("late-progress", *key):
            self._put(_Notice(hook, job, before), *key, "late")
        if self._faults.strikes("twice", *key):
            again = msgspec.structs.replace(job.task, properties=job.task.properties | {"sent": 2})
            self._put(_Notice(hook, job, again), *key, "twice")

    def _put(self, notice: _Notice, *key: object) -> None:
        if self._faults.strikes("drop", *key):
            return
        if not self._faults.strikes("delay", *key):
            self._queue.put_nowait(notice)
            return
        late_s = LATEST_S / self._speed * self._faults.amount("delay", *key)

        def put() -> None:
            self._delayed.discard(timer)
            self._queue.put_nowait(notice)

        timer = asyncio.get_running_loop().call_later(late_s, put)
        self._delayed.add(timer)

    async def _work(self, http: httpx.AsyncClient) -> None:
        while True:
            notice = await self._queue.get()
            task = notice.snapshot or notice.job.task
            body = self._show(notice.job, task)
            self._ledger.count_callback()
            try:
                answer = await http.post(
                    notice.hook, content=body, headers={"content-type": "application/json"}
                )
            except Exception as error:
                # Not only httpx's: anyio raises AttributeError for a connection that is gone as soon as it is made, and
                # idna its own for a host's name. One that ends its worker ends them all.
                log.warning("callback of task %s failed, and is not sent again: %r", task.id, error)
                continue
            if answer.is_success:
                self._ledger.count_callback_taken()
            else:
                log.warning("callback of task %s was answered %s", task.id, answer.status_code)
