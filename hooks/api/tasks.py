"""/api/tasks: lists tasks, and shows one with its buttons and payload."""

from __future__ import annotations

from starlette.requests import Request

from hooks.api import shapes
from hooks.api.answers import TaskDetail, TaskPage
from hooks.api.paging import age_cursor, cursor_of, filters, page_of
from hooks.problems import Problem
from storage.engine import Connection, Database
from storage.events import event_log
from storage.reading import pages
from storage.reading.keyset import Page
from storage.records import TaskRow
from storage.tasks import rows as tasks


class Tasks:
    """Handlers that read one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, TaskPage]:
        """List tasks, newest first; filter by `status`, `action`, `upstream` and `chain_id`."""
        most, cursor = page_of(request)
        equal = filters(request, "status", "action", "upstream", "chain_id")

        def read(connection: Connection) -> tuple[Page[TaskRow], dict[tuple[str, str], bytes]]:
            rows = pages.task_page(connection, most=most, before=age_cursor(cursor), equal=equal)
            return rows, pages.latest_payloads(connection, rows)

        rows, payloads = await self._database.read(read)
        return 200, TaskPage(
            tasks=[shapes.task_shape(row, payloads.get((row.upstream, row.id), b"")) for row in rows],
            cursor=cursor_of(rows.next),
        )

    async def get(self, request: Request) -> tuple[int, TaskDetail]:
        """Return a task with its buttons and its newest payload."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]

        def read(connection: Connection) -> tuple[TaskRow | None, bytes]:
            row = tasks.find(connection, upstream, task_id)
            return row, event_log.latest_payload(connection, upstream, row.id) if row is not None else b""

        row, payload = await self._database.read(read)
        if row is None:
            raise Problem(404, f"There is no task {task_id!r} at upstream {upstream!r}")
        task = shapes.task_shape(row, payload)
        return 200, shapes.extended(TaskDetail, task, payload=shapes.redacted_task(payload))
