"""Loop: polls tasks whose callbacks do not come.

Each task is polled once, shortly after its submission, unless a callback has arrived by then: a child can be finished from the start
and never call back (trueai v11, U-buttons of official accounts), and code 1 can hide a modal (new-api rewrites 21), which only the
status MODAL shows. While a task stays silent it is polled again, at growing intervals, and at each start of hookchain, since callbacks
that were sent meanwhile are lost. A task that has ended is polled if that end is doubtful: only a callback reports it, another callback
contradicts it, its buttons are missing, or the task was unknown. The upstream's answer is believed (storage/tasks/believe.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Container, Mapping
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.runs.readback import MOST_AT_ONCE, Readback
from midjourney.client import Client
from midjourney.dialects import Upstream
from midjourney.errors import ProtocolError
from midjourney.lifecycle import Comparison, Position, advance, position_of
from midjourney.types import Status, Task
from storage.clock import Clock, base_ms, uptime_s
from storage.engine import Database
from storage.log_lines import LogLines
from storage.reading import health
from storage.records import TaskRow
from storage.tasks import polling
from storage.tasks.believe import believe

log = structlog.get_logger("hookchain")

LOOKS_A_TURN = MOST_AT_ONCE
"""The most tasks that are polled in one turn."""

UPSCALE_QUIET_S = 10.0
"""After this much silence the upscale of a grid is polled: it takes 1 to 11 s, and other tasks may wait for it."""

POLLED_QUIET_S = 15.0
"""Seconds between two polls of a task whose upstream sends no callbacks: new-api itself polls as often."""

POLLED_PATIENCE_S = 600.0
"""For how long such a task is polled this often."""

TOGETHER_MS = 3_000
"""Tasks that become due within this time are polled together with those that are due."""

JUDGED_EVERY_S = 10.0
"""Seconds between two checks whether an upstream sends callbacks at all."""

LOST_AFTER_MISSES = 4
LOST_AFTER_MS = 60_000
"""A task is lost once its upstream did not know it this many times in a row, and this long after its submission."""

LONGEST_INTERVAL_S = 300.0
"""The longest pause between two polls of one task. Servers give up on a task after five minutes."""


class Poller:
    """Polls the silent tasks of each upstream. `poll_only`: no hooks are sent, so all tasks are silent."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        readbacks: Mapping[str, Readback],
        connected_signals: Callable[[], Container[str]],
        clock: Clock,
        *,
        poll_only: bool = False,
    ) -> None:
        self._database = database
        self._lost_lines = LogLines()
        self._clients = clients
        self._readbacks = readbacks
        self._connected_signals = connected_signals
        self._clock = clock
        self._started_up_ms = clock() - base_ms()
        self._poll_only = poll_only
        self._never_calls: dict[str, bool] = {}
        self._judged_s = -math.inf
        self._asking: set[str] = set()
        self.loop = Loop("reconcile", self._turn)

    async def _turn(self) -> None:
        await self._find_silent_upstreams()
        for name, client in self._clients.items():
            if name not in self._asking:  # an upstream that hangs must not block the others
                self._asking.add(name)
                self.loop.spawn(self._poll_upstream(name, client))

    async def _poll_upstream(self, name: str, client: Client) -> None:
        try:
            await self._look(name, client)
        except ProtocolError as error:
            log.info("an upstream does not answer polls", upstream=name, why=str(error))
        finally:
            self._asking.discard(name)

    async def _find_silent_upstreams(self) -> None:
        """Find upstreams that never call back: their tasks are polled more often, and the log says so."""
        if uptime_s() - self._judged_s < JUDGED_EVERY_S:
            return
        self._judged_s = uptime_s()
        for name, client in self._clients.items():
            silent = await self._database.read(partial(health.never_calls, upstream=name))
            never_calls = self._poll_only or not client.dialect.calls_back or silent
            if silent and not self._never_calls.get(name) and not self._poll_only:
                log.warning(
                    "this upstream has never sent a callback: hookchain polls its tasks every 15 s instead",
                    upstream=name,
                )
            self._never_calls[name] = never_calls

    async def _look(self, name: str, client: Client) -> None:
        rows = await self._due_rows(name, client)
        if not rows:
            return
        # Before the poll: an upstream that hangs must not be asked about the same task at every turn.
        await self._database.write(
            "looked",
            lambda connection: polling.record_poll(connection, name, [row.id for row in rows], self._clock()),
        )
        readback = self._readbacks[name]
        errors = await asyncio.gather(*(self._poll(readback, row) for row in rows))
        self._database.wakeups.wake(
            "submissions"
        )  # others need not wait for tasks that the upstream does not know
        if failed := [error for error in errors if error is not None]:
            raise failed[0]

    async def _due_rows(self, name: str, client: Client) -> list[TaskRow]:
        now_ms, upstream = self._clock(), client.upstream
        shortest_s = min(upstream.look_after_s, upstream.quiet_s, UPSCALE_QUIET_S)
        doubted = await self._database.read(
            lambda connection: polling.due(connection, name, now_ms, LOOKS_A_TURN)
        )
        silent = await self._database.read(
            lambda connection: polling.silent(
                connection, name, now_ms - int(1000 * shortest_s), 10 * LOOKS_A_TURN
            )
        )
        never_calls, started_ms = self._never_calls.get(name, False), self._started_up_ms + base_ms()
        due_ms = {row.id: due_at_ms(row, upstream, started_ms, never_calls=never_calls) for row in silent}
        if any(due <= now_ms for due in due_ms.values()):
            # Include tasks that are nearly due: one request for many.
            doubted += [row for row in silent if due_ms[row.id] <= now_ms + TOGETHER_MS]
        return list({row.id: row for row in doubted}.values())[:LOOKS_A_TURN]

    async def _poll(self, readback: Readback, row: TaskRow) -> ProtocolError | None:
        """Poll one task, and believe the answer. Returns the error if the upstream did not answer."""
        try:
            told = await readback.ask(row.id, is_known=row.submission_id is not None or row.confirmed)
        except ProtocolError as error:
            return error
        if told.task is None and await self._missed(row):
            return None
        is_known = row.confirmed and not row.misses and not row.ask_at_ms
        if told.task is not None and is_known and not is_news(row, told.task):
            return None
        belief = await self._database.write(
            "believe",
            lambda connection: believe(connection, told, self._connected_signals(), now_ms=self._clock()),
        )
        if belief.signal is not None:
            self._database.wakeups.wake("events")
        if belief.comparison is not Comparison.SAME or row.ask_at_ms:
            self._database.wakeups.wake("events", "submissions")
        return None

    async def _missed(self, row: TaskRow) -> bool:
        """Count that the upstream does not know a task, which in the end is lost. Returns False for a task that only callbacks
        have named."""
        if row.submission_id is None and not row.confirmed:
            return False
        if row.submission_id is not None and not row.confirmed and row.finished_at_ms is not None:
            return False
        lost = await self._database.write(
            "missed",
            lambda connection: polling.record_miss(
                connection,
                row,
                lost_after=LOST_AFTER_MISSES,
                lost_after_ms=LOST_AFTER_MS,
                now_ms=self._clock(),
            ),
        )
        if lost:
            if (left_out := self._lost_lines.take()) is not None:
                log.warning("task lost", upstream=row.upstream, task=row.id, lines_left_out=left_out)
            self._database.wakeups.wake("events")
        return True


def due_at_ms(row: TaskRow, upstream: Upstream, started_ms: int, *, never_calls: bool = False) -> int:
    """When to poll a task: soon after its submission, then after some silence, then less and less often.

    `started_ms` is when hookchain started: a task whose last news is older is due at once. `never_calls`: its upstream sends no
    callbacks, so only polling finds its end.
    """
    if row.looked_at_ms is None and row.status in ("", Status.NOT_START):
        return row.updated_at_ms + int(1000 * upstream.look_after_s)
    last_news_ms = max(row.updated_at_ms, row.looked_at_ms or 0)
    if last_news_ms < started_ms:
        return started_ms
    age_s = (last_news_ms - row.created_at_ms) / 1000
    quiet_s = min(upstream.quiet_s, UPSCALE_QUIET_S) if row.action == "UPSCALE" else upstream.quiet_s
    if never_calls:
        quiet_s = min(quiet_s, POLLED_QUIET_S)
        age_s = max(0.0, age_s - POLLED_PATIENCE_S)
    return last_news_ms + int(1000 * max(quiet_s, min(age_s / 2, LONGEST_INTERVAL_S)))


def is_news(row: TaskRow, task: Task) -> bool:
    """True if this payload advances the task, as a callback would."""
    return advance(Position(row.status, row.progress), position_of(task)) is not None
