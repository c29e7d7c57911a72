"""The JSON API: reads from storage/queries.py, acts through dispatcher/commands.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dispatcher.commands import CommandError
from hooks.api import shapes
from hooks.api.by_hand import ByHand
from hooks.api.decisions import NOTHING_LOADED, Decisions, Loaded
from hooks.api.letters import Letters
from hooks.api.pages import age_cursor, filters, id_cursor, page_of, paged, row_id
from hooks.api.quarantine import Quarantine
from hooks.api.submitting import Submitting
from hooks.api.traffic import Traffic
from hooks.api.upstreams import Upstreams
from hooks.auth import Admin
from hooks.problems import Problem
from midjourney.dialects import Dialect, Upstream
from storage import chains, events, queries, submissions, tasks
from storage.engine import Database
from storage.records import TaskRow

Handler = Callable[[Request], Any]
State = Literal["waiting", "running", "done", "dead"]


class Api:
    """Handlers over one database and its upstreams; `dialects` is what each of them speaks. Without an `admin`
    it answers on this machine only."""

    def __init__(
        self,
        database: Database,
        upstreams: Mapping[str, Upstream],
        dialects: Mapping[str, Dialect],
        *,
        admin: Admin | None = None,
        loaded: Loaded = lambda: NOTHING_LOADED,
    ) -> None:
        self._database = database
        prices = {name: upstream.prices for name, upstream in upstreams.items()}
        self._decisions = Decisions(database, prices, loaded)
        self._upstreams = Upstreams(database, upstreams)
        self._by_hand = ByHand(database)
        self._traffic = Traffic(database)
        self._letters = Letters(database, dialects)
        self._quarantine = Quarantine(database)
        self._submitting = Submitting(database, dialects)
        self._admin = admin or Admin()

    def routes(self) -> list[BaseRoute]:
        """All paths under /api."""
        table: list[tuple[str, Handler, str]] = [
            ("/api/tasks", self.tasks, "GET"),
            ("/api/tasks/{upstream}/{task_id:path}", self.task, "GET"),
            ("/api/chains", self.chains, "GET"),
            ("/api/chains/{id}", self.chain, "GET"),
            ("/api/events", self.events, "GET"),
            ("/api/events/{id}", self.event, "GET"),
            ("/api/submissions", self.submissions, "GET"),
            ("/api/submissions", self._submitting.submit, "POST"),
            ("/api/submissions/{id}", self.submission, "GET"),
            ("/api/deliveries", self.deliveries, "GET"),
            ("/api/deliveries/{id}", self.delivery, "GET"),
            ("/api/dead-letters", self._letters.list, "GET"),
            ("/api/dead-letters/retry", self._letters.retry_all, "POST"),
            ("/api/dead-letters/drop", self._letters.drop_all, "POST"),
            ("/api/dead-letters/{id}", self._letters.one, "GET"),
            ("/api/dead-letters/{id}/retry", self._letters.retry, "POST"),
            ("/api/dead-letters/{id}/drop", self._letters.drop, "POST"),
            ("/api/quarantine", self._quarantine.list, "GET"),
            ("/api/quarantine/retry", self._quarantine.retry_all, "POST"),
            ("/api/quarantine/drop", self._quarantine.drop_all, "POST"),
            ("/api/quarantine/{id}", self._quarantine.one, "GET"),
            ("/api/quarantine/{id}/retry", self._quarantine.retry, "POST"),
            ("/api/quarantine/{id}/drop", self._quarantine.drop, "POST"),
            ("/api/uncertain", self._by_hand.uncertain, "GET"),
            ("/api/uncertain/{id}/settle", self._by_hand.settle, "POST"),
            ("/api/refused", self._by_hand.refused, "GET"),
            ("/api/refused/{id}/release", self._by_hand.release, "POST"),
            ("/api/explain/{task_id:path}", self._decisions.explain, "GET"),
            ("/api/events/{id}/replay", self._decisions.replay, "POST"),
            ("/api/costs", self._decisions.costs, "GET"),
            ("/api/rules", self._decisions.rules, "GET"),
            ("/api/plugins", self._decisions.plugins, "GET"),
            ("/api/traffic", self._traffic.traffic, "GET"),
            ("/api/upstreams", self._upstreams.list, "GET"),
            ("/api/upstreams/{name}/pause", self._upstreams.pause, "POST"),
            ("/api/upstreams/{name}/resume", self._upstreams.resume, "POST"),
        ]
        return [Route(path, self._guarded(handler), methods=[method]) for path, handler, method in table]

    def _guarded(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                self._admin.check(request)
                status, body = await handler(request)
            except Problem as problem:
                return problem.response()
            except CommandError as error:
                return Problem(error.status, str(error)).response()
            return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")

        return handle

    async def tasks(self, request: Request) -> tuple[int, Any]:
        """Tasks, newest first; `status`, `action`, `upstream` and `chain_id` filter."""
        most, cursor = page_of(request)
        equal = filters(request, "status", "action", "upstream", "chain_id")
        rows, payloads = await self._database.read(
            lambda connection: _with_payloads(
                connection, queries.task_page(connection, most=most, before=age_cursor(cursor), equal=equal)
            )
        )
        found = [shapes.task_shape(row, payloads.get((row.upstream, row.id), b"")) for row in rows]
        return 200, paged("tasks", found, most, [rows[-1].created_at_ms, rows[-1].id] if rows else None)

    async def task(self, request: Request) -> tuple[int, Any]:
        """One task with its buttons and its newest payload."""
        upstream, task_id = request.path_params["upstream"], request.path_params["task_id"]
        row, payload = await self._database.read(
            lambda connection: (
                tasks.find(connection, upstream, task_id),
                events.latest_payload(connection, upstream, task_id),
            )
        )
        if row is None:
            raise Problem(404, f"no task {task_id!r} at upstream {upstream!r}")
        return 200, shapes.task_shape(row, payload) | {"payload": shapes.shown(payload)}

    async def chains(self, request: Request) -> tuple[int, Any]:
        """Chains, newest first; `upstream` filters."""
        most, cursor = page_of(request)
        equal = filters(request, "upstream")
        rows = await self._database.read(
            lambda connection: queries.chain_page(
                connection, most=most, before=age_cursor(cursor), equal=equal
            )
        )
        last = [rows[-1].created_at_ms, rows[-1].id] if rows else None
        return 200, paged("chains", [shapes.chain_shape(row) for row in rows], most, last)

    async def chain(self, request: Request) -> tuple[int, Any]:
        """One chain with its tasks and submissions, oldest first: enough to draw the tree."""
        chain_id, now_ms = request.path_params["id"], time.time_ns() // 1_000_000

        def ask(connection: Any) -> Any:
            rows = queries.tasks_of_chain(connection, chain_id)
            return (
                chains.find(connection, chain_id),
                rows,
                queries.latest_payloads(connection, rows),
                queries.submissions_of_chain(connection, chain_id),
                chains.untold(connection, chain_id, now_ms),
            )

        chain, rows, payloads, made, untold = await self._database.read(ask)
        if chain is None:
            raise Problem(404, f"no chain {chain_id!r}")
        return 200, shapes.chain_shape(chain) | {
            "untold": untold,
            "tasks": [shapes.task_shape(row, payloads.get((row.upstream, row.id), b"")) for row in rows],
            "submissions": [shapes.submission_shape(submission) for submission in made],
        }

    async def events(self, request: Request) -> tuple[int, Any]:
        """Events, newest first; `task_id`, `upstream`, `submission_id`, `signal` and `source` filter."""
        most, cursor = page_of(request)
        equal = filters(request, "task_id", "upstream", "submission_id", "signal", "source")
        found = await self._database.read(
            lambda connection: queries.event_page(
                connection, most=most, before=id_cursor(cursor), equal=equal
            )
        )
        last = [found[-1].id] if found else None
        return 200, paged("events", [shapes.event_shape(event) for event in found], most, last)

    async def event(self, request: Request) -> tuple[int, Any]:
        """One event."""
        event_id = row_id(request.path_params["id"])
        event = await self._database.read(lambda connection: queries.find_event(connection, event_id))
        if event is None:
            raise Problem(404, f"no event {event_id}")
        return 200, shapes.event_shape(event)

    async def submissions(self, request: Request) -> tuple[int, Any]:
        """Submissions, newest first; `state`, `upstream`, `chain_id`, `kind` and `asked_by` filter."""
        most, cursor = page_of(request)
        equal = filters(request, "state", "upstream", "chain_id", "kind", "asked_by", "parent_id")
        found = await self._database.read(
            lambda connection: queries.submission_page(
                connection, most=most, before=age_cursor(cursor), equal=equal
            )
        )
        last = [found[-1].created_at_ms, found[-1].id] if found else None
        return 200, paged("submissions", [shapes.submission_shape(one) for one in found], most, last)

    async def submission(self, request: Request) -> tuple[int, Any]:
        """One submission with its attempts."""
        submission_id = request.path_params["id"]
        found, tries = await self._database.read(
            lambda connection: (
                submissions.find(connection, submission_id),
                queries.attempts_of(connection, submission_id),
            )
        )
        if found is None:
            raise Problem(404, f"no submission {submission_id!r}")
        return 200, shapes.submission_shape(found) | {"tries": [shapes.attempt_shape(one) for one in tries]}

    async def deliveries(self, request: Request) -> tuple[int, Any]:
        """Deliveries, newest first; `state`, `receiver` and `event_id` filter."""
        most, cursor = page_of(request)
        equal: dict[str, Any] = dict(filters(request, "state", "receiver"))
        if event_id := request.query_params.get("event_id", ""):
            equal["event_id"] = row_id(event_id)
        found = await self._database.read(
            lambda connection: queries.delivery_page(
                connection, most=most, before=id_cursor(cursor), equal=equal
            )
        )
        last = [found[-1].id] if found else None
        return 200, paged("deliveries", [shapes.delivery_shape(one) for one in found], most, last)

    async def delivery(self, request: Request) -> tuple[int, Any]:
        """One delivery."""
        delivery_id = row_id(request.path_params["id"])
        found = await self._database.read(lambda connection: queries.find_delivery(connection, delivery_id))
        if found is None:
            raise Problem(404, f"no delivery {delivery_id}")
        return 200, shapes.delivery_shape(found)


def _with_payloads(
    connection: Any, rows: list[TaskRow]
) -> tuple[list[TaskRow], dict[tuple[str, str], bytes]]:
    return rows, queries.latest_payloads(connection, rows)
