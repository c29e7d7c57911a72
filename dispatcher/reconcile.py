"""Loop: tasks that nothing is heard of are asked about.

Each task once, shortly after its submit, unless it has called by then: a child can be born finished and never call
(trueai v11, U-buttons of official accounts), and a window can hide behind code 1 (new-api rewrites 21), which only
its status MODAL shows. Later again, at growing intervals, while it is silent; and at our start, since what was sent
while nobody listened is lost. What comes back goes the way of a callback; what is no news is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog

from dispatcher.submit import Clock
from dispatcher.supervisor import Loop
from midjourney.client import Client
from midjourney.dialects import Upstream
from midjourney.errors import ProtocolError, UpstreamRefused
from midjourney.lifecycle import Position, advance, position_of
from midjourney.types import Status, Task
from storage import health, looks
from storage.engine import Database
from storage.records import Incoming, TaskRow

log = structlog.get_logger("hookchain")

LOOKS_A_TURN = 100
"""Tasks in one question: as many as trueai lists, and a body that no gateway minds."""

UPSCALE_QUIET_S = 10.0
"""Silence that is long for an upscale of a grid, which takes 1 to 11 s and which others may wait for."""

DEAF_QUIET_S = 15.0
"""Between two questions about a task whose upstream does not call back: new-api itself polls as often."""

DEAF_PATIENCE_S = 600.0
"""For how long such a task is asked about as often."""

TOGETHER_MS = 3_000
"""Tasks that are due so soon are asked about together with those that are."""

JUDGED_EVERY_MS = 10_000
"""How often it is looked whether an upstream calls back at all."""

LOST_AFTER_MISSES = 4
LOST_AFTER_MS = 60_000
"""A task is lost when its upstream did not know it so often in a row, and this long after its submit."""

LONGEST_INTERVAL_S = 300.0
"""Between two questions about one task. Servers give up on a task after five minutes."""


class Reconciler:
    """Asks each upstream about its silent tasks. `poll_only`: no hook is sent, so all of them are silent."""

    def __init__(
        self, database: Database, clients: Mapping[str, Client], clock: Clock, *, poll_only: bool = False
    ) -> None:
        self._database = database
        self._clients = clients
        self._clock = clock
        self._started_ms = clock()
        self._poll_only = poll_only
        self._deaf: dict[str, bool] = {}
        self._judged_ms = 0
        self._asking: set[str] = set()
        self.loop = Loop("reconcile", self._turn)

    async def _turn(self) -> None:
        await self._judge()
        for name, client in self._clients.items():
            if name not in self._asking:  # one that hangs keeps the others from nothing
                self._asking.add(name)
                self.loop.spawn(self._ask_about_silent(name, client))

    async def _ask_about_silent(self, name: str, client: Client) -> None:
        try:
            await self._look(name, client)
        except ProtocolError as error:
            log.info("an upstream does not tell", upstream=name, why=str(error))
        finally:
            self._asking.discard(name)

    async def _judge(self) -> None:
        """Recognise upstreams that never call back: they are asked more often, and the user is told."""
        now_ms = self._clock()
        if now_ms - self._judged_ms < JUDGED_EVERY_MS:
            return
        self._judged_ms = now_ms
        for name, client in self._clients.items():
            silent = await self._database.read(partial(health.never_calls, upstream=name))
            deaf = self._poll_only or not client.dialect.calls_back or silent
            if silent and not self._deaf.get(name) and not self._poll_only:
                log.warning(
                    "no callback ever came from this upstream: its tasks are asked about every 15 s instead",
                    upstream=name,
                )
            self._deaf[name] = deaf

    async def _look(self, name: str, client: Client) -> None:
        now_ms, upstream = self._clock(), client.upstream
        shortest_s = min(upstream.look_after_s, upstream.quiet_s, UPSCALE_QUIET_S)
        found = await self._database.read(
            lambda connection: looks.silent(
                connection, name, now_ms - int(1000 * shortest_s), 10 * LOOKS_A_TURN
            )
        )
        deaf = self._deaf.get(name, False)
        due_ms = {row.id: due_at_ms(row, upstream, self._started_ms, deaf=deaf) for row in found}
        if not any(due <= now_ms for due in due_ms.values()):
            return
        # Those that are nearly due come along: one question for many.
        rows = [row for row in found if due_ms[row.id] <= now_ms + TOGETHER_MS][:LOOKS_A_TURN]
        # Before the question: an upstream that hangs must not be asked about the same task at every turn.
        await self._database.write(
            "looked",
            lambda connection: looks.looked(connection, name, [row.id for row in rows], self._clock()),
        )
        told = await _ask(client, [row.id for row in rows])
        self._database.wakeups.wake("submissions")  # what the upstream does not know keeps nobody waiting
        for row in rows:
            if (task := told.get(row.id)) is None:
                await self._missed(row)
            elif is_news(row, task):
                await self._database.append(
                    Incoming(
                        upstream=name,
                        task=task,
                        submission_id="",
                        source="reconcile",
                        received_at_ms=self._clock(),
                    )
                )

    async def _missed(self, row: TaskRow) -> None:
        """The upstream does not know the task: after some times, and a while, it is lost."""
        lost = await self._database.write(
            "missed",
            lambda connection: looks.missed(
                connection,
                row,
                lost_after=LOST_AFTER_MISSES,
                lost_after_ms=LOST_AFTER_MS,
                now_ms=self._clock(),
            ),
        )
        if lost:
            log.warning("task lost", upstream=row.upstream, task=row.id)
            self._database.wakeups.wake("events")


async def _ask(client: Client, ids: list[str]) -> dict[str, Task]:
    if client.dialect.has("list_by_condition"):
        try:
            return {task.id: task for task in await client.list_by_condition(ids)}
        except UpstreamRefused as error:
            if error.status not in (404, 405):
                raise
    found = [await client.fetch(task_id) for task_id in ids]
    return {task.id: task for task in found if task is not None}


def due_at_ms(row: TaskRow, upstream: Upstream, started_ms: int, *, deaf: bool = False) -> int:
    """When to ask about a task: soon after its submit, then when it is silent, then ever less often.

    `started_ms` is when we began to listen: what was last heard of before it is asked about at once. `deaf`: its
    upstream does not call, so asking is how its end is found.
    """
    if row.looked_at_ms is None and row.status in ("", Status.NOT_START):
        return row.updated_at_ms + int(1000 * upstream.look_after_s)
    heard_ms = max(row.updated_at_ms, row.looked_at_ms or 0)
    if heard_ms < started_ms:
        return started_ms
    age_s = (heard_ms - row.created_at_ms) / 1000
    quiet_s = min(upstream.quiet_s, UPSCALE_QUIET_S) if row.action == "UPSCALE" else upstream.quiet_s
    if deaf:
        quiet_s = min(quiet_s, DEAF_QUIET_S)
        age_s = max(0.0, age_s - DEAF_PATIENCE_S)
    return heard_ms + int(1000 * max(quiet_s, min(age_s / 2, LONGEST_INTERVAL_S)))


def is_news(row: TaskRow, task: Task) -> bool:
    """Whether this moves the task, as a callback would."""
    return advance(Position(row.status, row.progress), position_of(task)) is not None
