"""Send callbacks as the real servers do: once, in no order, from a small pool of workers, and without retries.

The body is serialised when it is sent, not when the state changed (novicezk 2.6, Plus 3.7.5), so a slow receiver gets one
state twice and another never.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import httpx
import msgspec

from midjourney.bounded import Bounds, exchange
from midjourney.sandbox.faults import LATEST_S, Faults, shuffled
from midjourney.sandbox.forging import forged
from midjourney.sandbox.jobs import ENDED, Job
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.wire import Task
from midjourney.tls import trusted

log = logging.getLogger(__name__)

_BOUNDS = Bounds(sent_bytes=64 * 1024, unpacked_bytes=64 * 1024, within_s=None)
"""Bounds of a receiver's answer. Its time is not bounded, because the real servers do not bound it either."""

Show = Callable[[Job, Task], bytes]
"""Returns the body of a callback for a job and a state of its task."""


class _Notice(msgspec.Struct, frozen=True):
    """One POST to send. `snapshot`: the state to send; None means the state at the time of sending."""

    hook: str
    job: Job
    snapshot: Task | None


class Notifier:
    """An unbounded queue and a pool of workers. `hook`: the hook for tasks without a notifyHook."""

    def __init__(
        self,
        *,
        workers: int,
        hook: str,
        faults: Faults,
        ledger: Ledger,
        speed: float,
        show: Show,
        finished: Callable[[], list[Job]] = list,
    ) -> None:
        self._workers = workers
        self._hook = hook
        self._faults = faults
        self._ledger = ledger
        self._speed = speed
        self._show = show
        self._finished = finished
        self._restarts = 0
        self._queue: asyncio.Queue[_Notice] = asyncio.Queue()
        self._held: defaultdict[str, list[Task]] = defaultdict(list)
        self._changes: defaultdict[str, int] = defaultdict(int)
        self._last_progress: dict[str, Task] = {}
        self._delayed: set[asyncio.TimerHandle] = set()

    def notify(self, job: Job) -> None:
        """Queue the callbacks for a changed job, faults included. NOT_START and MODAL have no callbacks."""
        hook = self._hook_of(job)
        if not hook or job.task.status in ("NOT_START", "MODAL"):
            return
        self._changes[job.task.id] += 1
        key = (job.uuid, self._changes[job.task.id])
        if self._faults.strikes("forget", *key):
            self.restart()
        copies = 3 if self._faults.strikes("duplicate", *key) else 1
        if self._faults.has("reorder"):
            self._hold(hook, job, copies)
        else:
            for copy in range(copies):
                self._put(_Notice(hook, job, None), *key, copy)
        self._after_success(hook, job, *key)
        self._send_false(hook, job, *key)
        if job.task.status == "IN_PROGRESS":
            self._last_progress[job.task.id] = job.task

    def restart(self) -> None:
        """Simulate a restart of the server: drop queued and delayed callbacks. With the fault `renotify`, queue callbacks for all
        finished tasks again."""
        self._forget()
        self._restarts += 1
        if self._faults.strikes("renotify", self._restarts):
            for job in self._finished():
                if hook := self._hook_of(job):
                    self._put(_Notice(hook, job, None), job.uuid, "again", self._restarts)

    def _hook_of(self, job: Job) -> str:
        return str(job.task.properties["notifyHook"] or self._hook)

    def _forget(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
        for timer in self._delayed:
            timer.cancel()
        self._delayed.clear()
        self._held.clear()

    async def run(self) -> None:
        """Send until cancelled. There is no time-out: a receiver that hangs blocks a worker forever."""
        limits = httpx.Limits(max_connections=self._workers, max_keepalive_connections=self._workers)
        async with (
            httpx.AsyncClient(timeout=None, limits=limits, trust_env=False, verify=trusted()) as http,
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
        before = self._last_progress.pop(job.task.id, None)
        if before is not None and self._faults.strikes("late-progress", *key):
            self._put(_Notice(hook, job, before), *key, "late")
        if self._faults.strikes("twice", *key):
            again = msgspec.structs.replace(job.task, properties=job.task.properties | {"sent": 2})
            self._put(_Notice(hook, job, again), *key, "twice")

    def _send_false(self, hook: str, job: Job, *key: object) -> None:
        """Queue false callbacks: an end that has not happened, and forged callbacks."""
        is_last = job.task.status == "IN_PROGRESS" and len(job.remaining_steps) == 1
        if is_last and self._faults.strikes("false-failure", job.uuid):
            failed = msgspec.structs.replace(
                job.task, status="FAILURE", progress="", fail_reason="task timed out", buttons=()
            )
            self._put(_Notice(hook, job, failed), *key, "false")
        if self._faults.strikes("forge", *key):
            for place, task in enumerate(forged(job.task, self._changes[job.task.id])):
                self._put(_Notice(hook, job, task), *key, "forged", place)

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
                request = http.build_request(
                    "POST", notice.hook, content=body, headers={"content-type": "application/json"}
                )
                answer = await exchange(partial(http.send, stream=True), request, _BOUNDS)
            except Exception as error:
                # Not only httpx's errors: anyio raises AttributeError for a connection that closes as soon as it opens, and
                # idna has its own error for host names. An error that ends one worker would end all of them.
                log.warning("callback of task %s failed and is not sent again: %r", task.id, error)
                continue
            if 200 <= answer.status < 300:
                self._ledger.count_callback_taken()
            else:
                log.warning("callback of task %s was answered %s", task.id, answer.status)
