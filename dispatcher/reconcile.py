"""Loop: tasks that nothing is heard of are asked about.

Each task once, shortly after its submit, unless it has called by then: a child can be born finished and never call
(trueai v11, U-buttons of official accounts), and a window can hide behind code 1 (new-api rewrites 21), which only
its status MODAL shows. Later again, at growing intervals, while it is silent; and at our start, since what was sent
while nobody listened is lost. What comes back goes the way of a callback; what is no news is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from dispatcher.submit import Clock
from dispatcher.supervisor import Loop
from midjourney.client import Client
from midjourney.dialects import Dialect, Upstream
from midjourney.errors import ProtocolError
from midjourney.lifecycle import Position, advance, position_of
from midjourney.types import Status, Task
from storage import looks
from storage.engine import Database
from storage.records import Incoming, TaskRow

log = structlog.get_logger("hookchain")

LOOKS_A_TURN = 100
"""Tasks in one question: as many as trueai lists, and a body that no gateway minds."""

UPSCALE_QUIET_S = 10.0
"""Silence that is long for an upscale of a grid, which takes 1 to 11 s and which others may wait for; and for any task
of an upstream that does not call back."""

LONGEST_INTERVAL_S = 300.0
"""Between two questions about one task. Servers give up on a task after five minutes."""


class Reconciler:
    """Asks each upstream about its silent tasks."""

    def __init__(self, database: Database, clients: Mapping[str, Client], clock: Clock) -> None:
        self._database = database
        self._clients = clients
        self._clock = clock
        self._started_ms = clock()
        self.loop = Loop("reconcile", self._turn)

    async def _turn(self) -> None:
        for name, client in self._clients.items():
            try:
                await self._look(name, client)
            except ProtocolError as error:
                log.info("an upstream does not tell", upstream=name, why=str(error))

    async def _look(self, name: str, client: Client) -> None:
        now_ms = self._clock()
        upstream = client.upstream
        silent_since_ms = now_ms - int(1000 * min(upstream.look_after_s, upstream.quiet_s, UPSCALE_QUIET_S))
        found = await self._database.read(
            lambda connection: looks.silent(connection, name, silent_since_ms, 10 * LOOKS_A_TURN)
        )
        due = [row for row in found if due_at_ms(row, upstream, client.dialect, self._started_ms) <= now_ms][
            :LOOKS_A_TURN
        ]
        if not due:
            return
        ids = [row.id for row in due]
        # Before the question: an upstream that hangs must not be asked about the same task at every turn.
        await self._database.write(
            "looked", lambda connection: looks.looked(connection, name, ids, self._clock())
        )
        told = await _ask(client, ids)
        self._database.wakeups.wake("submissions")  # what the upstream does not know keeps nobody waiting
        for row in due:
            if (task := told.get(row.id)) is not None and is_news(row, task):
                await self._database.append(
                    Incoming(
                        upstream=name,
                        task=task,
                        submission_id="",
                        source="reconcile",
                        received_at_ms=self._clock(),
                    )
                )


async def _ask(client: Client, ids: list[str]) -> dict[str, Task]:
    if len(ids) > 1 and client.dialect.has("list_by_condition"):
        return {task.id: task for task in await client.list_by_condition(ids)}
    found = [await client.fetch(task_id) for task_id in ids]
    return {task.id: task for task in found if task is not None}


def due_at_ms(row: TaskRow, upstream: Upstream, dialect: Dialect, started_ms: int) -> int:
    """When to ask about a task: soon after its submit, then when it is silent, then ever less often.

    `started_ms` is when we began to listen: what was last heard of before it is asked about at once.
    """
    if row.looked_at_ms is None and row.status in ("", Status.NOT_START):
        return row.updated_at_ms + int(1000 * upstream.look_after_s)
    heard_ms = max(row.updated_at_ms, row.looked_at_ms or 0)
    if heard_ms < started_ms:
        return started_ms
    age_s = (heard_ms - row.created_at_ms) / 1000
    quiet_s = upstream.quiet_s
    if row.action == "UPSCALE" or not dialect.calls_back:
        quiet_s = min(quiet_s, UPSCALE_QUIET_S)
    return heard_ms + int(1000 * max(quiet_s, min(age_s / 2, LONGEST_INTERVAL_S)))


def is_news(row: TaskRow, task: Task) -> bool:
    """Whether this moves the task, as a callback would."""
    return advance(Position(row.status, row.progress), position_of(task)) is not None
