"""Reads tasks back from their upstream, with one request for all callers that ask at the same moment.

While a request is under way, further callers wait for the next one, which asks about all of their tasks at once
(`list-by-condition`). Servers cut lists short, some at 50 entries, so a task that a list leaves out is fetched alone before it
counts as unknown. That also shows how many entries the server returns.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping

import msgspec
import structlog

from midjourney.client import Client
from midjourney.errors import NotSent, ProtocolError, UpstreamRefused, without_frames
from midjourney.presses import lacks_buttons
from midjourney.types import Status, Task
from storage.clock import base_ms, uptime_s
from storage.tasks.believe import TaskReport
from storage.tasks.oddities import Oddities

log = structlog.get_logger("hookchain")

MOST_AT_ONCE = 100
"""The most tasks in one request: as many as trueai lists, in a body that every gateway accepts."""

FRESH_MS = 60_000
"""A task that ended this recently is news: its buttons cannot have been pressed yet."""

LISTED_FOR_S = 5.0
"""Seconds for which one list from the upstream is used."""

CLOCKS_DIFFER_MS = 10_000
"""How far an upstream's clock may be behind ours, so that a task that ends while hookchain starts is still news."""

UNKNOWN_SHARE = 4.0
"""At an upstream with a rate, one in this many requests may be about a task that it does not know."""

SINGLE_AT_ONCE = 3
"""The most concurrent requests about single tasks that a list left out."""


class Readback:
    """Asks one upstream about tasks."""

    def __init__(self, name: str, client: Client, clock: Callable[[], int]) -> None:
        self._name = name
        self._client = client
        self._clock = clock
        self._wanted: dict[str, asyncio.Future[TaskReport]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._singles: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(SINGLE_AT_ONCE)
        self._known: set[str] = set()
        self._turns_of_known = asyncio.Semaphore(SINGLE_AT_ONCE)
        self._most = MOST_AT_ONCE
        self._lists = client.dialect.has("list_by_condition")
        self._oddities = Oddities()
        self._is_closed = False
        self._list: tuple[float, tuple[Task, ...]] = (-math.inf, ())
        self._began_up_ms: int | None = None

    @property
    def began_ms(self) -> int | None:
        """When hookchain began to listen to the upstream; None while its history is unknown. It moves when the clock is set."""
        return None if self._began_up_ms is None else self._began_up_ms + base_ms()

    @began_ms.setter
    def began_ms(self, at_ms: int) -> None:
        self._began_up_ms = at_ms - base_ms()

    async def ask(self, task_id: str, *, is_known: bool = False) -> TaskReport:
        """Ask the upstream about a task. Raises `ProtocolError` if it does not answer. A task that `is_known` from more than a
        callback does not wait behind others, which may be invented."""
        if self._is_closed:
            raise NotSent("hookchain is stopping")
        if is_known:
            self._known.add(task_id)
        return await asyncio.shield(self._answer_about(task_id))

    def _answer_about(self, task_id: str) -> asyncio.Future[TaskReport]:
        """The answer of the next request. Callers must not keep it in a variable: see `without_frames`."""
        future = self._wanted.get(task_id)
        if future is None:
            future = self._wanted[task_id] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve_exception)
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_all())
        return future

    async def ask_with_list(self, task_id: str) -> TaskReport:
        """As `ask`. For an old task, whose buttons may have been pressed, also read its children from the upstream's list."""
        told = await self.ask(task_id)
        if told.task is None or told.task.status != Status.SUCCESS or not self._client.dialect.has("list"):
            return told
        ended_ms = told.task.finish_time_ms
        if ended_ms is not None and ended_ms > told.asked_at_ms - FRESH_MS:
            return told
        return msgspec.structs.replace(told, listed=await self._listed_children(task_id))

    async def _listed_children(self, task_id: str) -> tuple[Task, ...]:
        """The children of a task in the upstream's list, which is cached for a few seconds."""
        if self._list[0] < uptime_s() - LISTED_FOR_S:
            try:
                self._list = (uptime_s(), tuple((await self._client.list_all()).tasks))
            except UpstreamRefused as error:
                log.info("an upstream shows no list", upstream=self._name, why=str(error))
                self._list = (uptime_s(), ())
        return tuple(task for task in self._list[1] if task.pressed_on == task_id)

    async def aclose(self) -> None:
        """Send no more requests; callers that wait get `NotSent`."""
        self._is_closed = True
        running = [*self._singles, *([self._asking] if self._asking is not None else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        _fail(self._wanted.values(), NotSent("hookchain is stopping"))

    async def _ask_all(self) -> None:
        await asyncio.sleep(0)  # let other callers of this moment join
        while self._wanted:
            wanted = sorted(self._wanted, key=lambda task_id: task_id not in self._known)
            batch = {task_id: self._wanted.pop(task_id) for task_id in wanted[: self._most]}
            try:
                await self._answer(batch)
            except asyncio.CancelledError:
                for future in batch.values():
                    future.cancel()
                raise
            except Exception as error:  # a bug: without this, callers would wait for ever
                log.exception("reading a task back failed with an unexpected error", upstream=self._name)
                _fail(batch.values(), error)

    async def _answer(self, wanted: Mapping[str, asyncio.Future[TaskReport]]) -> None:
        asked_at_ms = self._clock()
        try:
            listed = await self._listed(list(wanted))
        except UpstreamRefused as error:
            self._ask_fewer(wanted, error)
            return
        except ProtocolError as error:
            _fail(wanted.values(), error)
            return
        for task_id, task in listed.items():
            _tell(wanted[task_id], self._told(task_id, task, asked_at_ms))
        left = {task_id: future for task_id, future in wanted.items() if task_id not in listed}
        self._known -= listed.keys()
        if len(wanted) == 1 and wanted.keys() <= self._known:
            await self._single(*left.popitem())
        elif left:  # in the background: a thousand invented ids must not delay other callers
            singles = asyncio.create_task(self._singly(left, len(listed)))
            self._singles.add(singles)
            singles.add_done_callback(self._singles.discard)

    def _ask_fewer(self, wanted: Mapping[str, asyncio.Future[TaskReport]], error: UpstreamRefused) -> None:
        """Retry with fewer tasks: a server that refuses a long list may answer a short one."""
        if len(wanted) == 1:
            _fail(wanted.values(), error)
            return
        self._most = max(1, len(wanted) // 2)
        log.info("an upstream refuses long lists", upstream=self._name, entries=self._most, why=str(error))
        self._wanted = dict(wanted) | self._wanted

    async def _singly(self, left: Mapping[str, asyncio.Future[TaskReport]], listed: int) -> None:
        async def in_turn(task_id: str, future: asyncio.Future[TaskReport]) -> bool:
            turns = self._turns_of_known if task_id in self._known else self._turns
            async with turns:
                known = await self._single(task_id, future)
                # A flood of unknown ids must leave room for work.
                if self._client.upstream.rate and not known:
                    await asyncio.sleep(UNKNOWN_SHARE / self._client.upstream.rate)
                return known

        known = await asyncio.gather(*(in_turn(task_id, future) for task_id, future in left.items()))
        if listed and any(known):
            self._learn(listed)

    async def _listed(self, ids: list[str]) -> dict[str, Task]:
        """The tasks that one list contains; none if there is only one task, or the upstream has no such list."""
        if len(ids) < 2 or not self._lists:
            return {}
        try:
            listed = await self._client.list_by_condition(ids)
        except UpstreamRefused as error:
            if error.status not in (404, 405):
                raise
            self._lists = False
            return {}
        return {task.id: task for task in listed if task.id in ids}

    async def _single(self, task_id: str, future: asyncio.Future[TaskReport]) -> bool:
        """Fetch one task alone. Returns True if the upstream knows it."""
        asked_at_ms = self._clock()
        self._known.discard(task_id)
        try:
            task = await self._client.fetch(task_id)
        except ProtocolError as error:
            _fail([future], error)
            return False
        except Exception as error:
            log.exception("reading a task back failed with an unexpected error", upstream=self._name)
            _fail([future], error)
            return False
        _tell(future, self._told(task_id, task, asked_at_ms))
        return task is not None

    def _learn(self, answered: int) -> None:
        """Ask about fewer tasks at once: the list left out known tasks, so the server returns no more entries than this."""
        if answered < self._most:
            self._most = max(1, answered)
            log.info("an upstream's lists are short", upstream=self._name, entries=self._most)

    def _told(self, task_id: str, task: Task | None, asked_at_ms: int) -> TaskReport:
        if task is not None:
            self._oddities.look_at(self._name, task)
        ended_ms = task.finish_time_ms if task is not None and task.is_finished else None
        return TaskReport(
            upstream=self._name,
            task_id=task_id,
            task=task,
            asked_at_ms=asked_at_ms,
            lacks_buttons=task is not None and lacks_buttons(task, self._client.dialect),
            is_history=ended_ms is not None and ended_ms < self._news_since_ms(asked_at_ms),
        )

    def _news_since_ms(self, now_ms: int) -> int:
        """A task that ended before this time, and was unknown until now, is history."""
        oldest_ms = now_ms - int(1000 * self._client.upstream.news_within_s)
        return max(oldest_ms, (self.began_ms or 0) - CLOCKS_DIFFER_MS)


def _retrieve_exception(future: asyncio.Future[TaskReport]) -> None:
    """Mark an exception as retrieved: asyncio logs those of futures whose callers have gone."""
    if not future.cancelled():
        future.exception()


def _tell(future: asyncio.Future[TaskReport], told: TaskReport) -> None:
    if not future.done():
        future.set_result(told)


def _fail(futures: Iterable[asyncio.Future[TaskReport]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(without_frames(error))
