"""The JSON API: reads from storage/queries.py, acts through dispatcher/commands.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dispatcher import commands
from dispatcher.commands import CommandError
from hooks import shapes
from hooks.auth import check_admin
from hooks.by_hand import ByHand
from hooks.decisions import NOTHING_LOADED, Decisions, Loaded
from hooks.letters import Letters
from hooks.pages import age_cursor, filters, id_cursor, page_of, paged, row_id
from hooks.problems import Problem
from hooks.quarantine import Quarantine
from hooks.traffic import Traffic
from hooks.upstreams import Upstreams
from midjourney.dialects import Dialect, Upstream
from midjourney.errors import InvalidRequest
from midjourney.requests import KINDS, parent_of
from midjourney.requests import Request as Submission
from storage import chains, events, queries, submissions, tasks
from storage.engine import Database
from storage.records import StageResult, TaskRow


class Press(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="press", forbid_unknown_fields=True
):
    """A press by the button's name: "U1", "U*", "custom_zoom"."""

    task_id: str
    button: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a submission's body that is not the request: where it goes, when, and whether it is wanted again."""

    upstream: str = ""
    again: int = 0
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    after: Annotated[float, msgspec.Meta(ge=0, le=30 * 24 * 3600)] = 0.0


Wanted = Submission | Press
_asked = msgspec.json.Decoder(Asked)

Handler = Callable[[Request], Any]
State = Literal["waiting", "running", "done", "dead"]


class Api:
    """Handlers over one database and its upstreams; `dialects` is what each of them speaks."""

    def __init__(
        self,
        database: Database,
        upstreams: Mapping[str, Upstream],
        dialects: Mapping[str, Dialect],
        *,
        admin_token: str = "",
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
        self._dialects = dialects
        self._admin_token = admin_token

    def routes(self) -> list[BaseRoute]:
        """All paths under /api."""
        table: list[tuple[str, Handler, str]] = [
            ("/api/tasks", self.tasks, "GET"),
            ("/api/tasks/{upstream}/{task_id}", self.task, "GET"),
            ("/api/chains", self.chains, "GET"),
            ("/api/chains/{id}", self.chain, "GET"),
            ("/api/events", self.events, "GET"),
            ("/api/events/{id:int}", self.event, "GET"),
            ("/api/submissions", self.submissions, "GET"),
            ("/api/submissions", self.submit, "POST"),
            ("/api/submissions/{id}", self.submission, "GET"),
            ("/api/deliveries", self.deliveries, "GET"),
            ("/api/deliveries/{id:int}", self.delivery, "GET"),
            ("/api/dead-letters", self._letters.list, "GET"),
            ("/api/dead-letters/retry", self._letters.retry_all, "POST"),
            ("/api/dead-letters/drop", self._letters.drop_all, "POST"),
            ("/api/dead-letters/{id}", self._letters.one, "GET"),
            ("/api/dead-letters/{id}/retry", self._letters.retry, "POST"),
            ("/api/dead-letters/{id}/drop", self._letters.drop, "POST"),
            ("/api/quarantine", self._quarantine.list, "GET"),
            ("/api/quarantine/retry", self._quarantine.retry_all, "POST"),
            ("/api/quarantine/drop", self._quarantine.drop_all, "POST"),
            ("/api/quarantine/{id:int}", self._quarantine.one, "GET"),
            ("/api/quarantine/{id:int}/retry", self._quarantine.retry, "POST"),
            ("/api/quarantine/{id:int}/drop", self._quarantine.drop, "POST"),
            ("/api/uncertain", self._by_hand.uncertain, "GET"),
            ("/api/uncertain/{id}/settle", self._by_hand.settle, "POST"),
            ("/api/refused", self._by_hand.refused, "GET"),
            ("/api/refused/{id}/release", self._by_hand.release, "POST"),
            ("/api/explain/{task_id}", self._decisions.explain, "GET"),
            ("/api/events/{id:int}/replay", self._decisions.replay, "POST"),
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
                check_admin(request, self._admin_token)
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
        chain_id = request.path_params["id"]

        def ask(connection: Any) -> Any:
            rows = queries.tasks_of_chain(connection, chain_id)
            return (
                chains.find(connection, chain_id),
                rows,
                queries.latest_payloads(connection, rows),
                queries.submissions_of_chain(connection, chain_id),
            )

        chain, rows, payloads, made = await self._database.read(ask)
        if chain is None:
            raise Problem(404, f"no chain {chain_id!r}")
        return 200, shapes.chain_shape(chain) | {
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
        event_id = row_id(str(request.path_params["id"]))
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

    async def submit(self, request: Request) -> tuple[int, Any]:
        """Ask for a submission: 202 when it is new, 200 when the intent (or the Idempotency-Key) had one already."""
        wanted, asked = _wanted(await request.body())
        task_id = wanted.task_id if isinstance(wanted, Press) else _parent(wanted)
        upstream = await self._upstream_of(asked.upstream, task_id)
        key = request.headers.get("idempotency-key", "")
        now_ms = time.time_ns() // 1_000_000

        def stage(connection: Any) -> list[StageResult]:
            if isinstance(wanted, Press):
                return commands.press(
                    connection,
                    wanted.task_id,
                    wanted.button,
                    upstream=upstream,
                    dialect=self._dialects[upstream],
                    asked_by="api",
                    now_ms=now_ms,
                    again=asked.again,
                    priority=asked.priority,
                    after_s=asked.after,
                )
            return [
                commands.submit(
                    connection,
                    wanted,
                    upstream=upstream,
                    dialect=self._dialects[upstream],
                    asked_by="api",
                    now_ms=now_ms,
                    idempotency_key=key,
                    again=asked.again,
                    priority=asked.priority,
                    after_s=asked.after,
                )
            ]

        staged = await self._database.write("command", stage)
        self._database.wakeups.wake("events", "submissions")
        made = await self._database.read(
            lambda connection: [submissions.find(connection, one.submission_id) for one in staged]
        )
        created = any(one.created for one in staged)
        shown = [shapes.submission_shape(submission) for submission in made if submission is not None]
        if not shown:
            raise Problem(
                409, "this was submitted before, and has been removed since ([retention] chain_days)"
            )
        body = shown[0] if not isinstance(wanted, Press) else {"submissions": shown}
        return (202 if created else 200), body

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
        delivery_id = row_id(str(request.path_params["id"]))
        found = await self._database.read(lambda connection: queries.find_delivery(connection, delivery_id))
        if found is None:
            raise Problem(404, f"no delivery {delivery_id}")
        return 200, shapes.delivery_shape(found)

    async def _upstream_of(self, named: str, task_id: str) -> str:
        if named:
            if named not in self._dialects:
                raise Problem(422, f"no upstream {named!r}; there are: {', '.join(sorted(self._dialects))}")
            return named
        if task_id:
            having = await self._database.read(
                lambda connection: queries.upstreams_of_task(connection, task_id)
            )
            known = [name for name in having if name in self._dialects]
            if not known:
                raise Problem(404, f"no task {task_id!r} at any configured upstream")
            if len(known) > 1:
                raise Problem(422, f"task {task_id!r} is at {', '.join(known)}: say which as `upstream`")
            return known[0]
        return "main" if "main" in self._dialects else next(iter(self._dialects))


def _wanted(body: bytes) -> tuple[Wanted, Asked]:
    """The request and what stands beside it. Raises `Problem` 400 or 422."""
    try:
        asked = _asked.decode(body)
        fields = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    request = {key: value for key, value in fields.items() if key not in Asked.__struct_fields__}
    try:
        return msgspec.convert(request, Wanted), asked
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; `kind` is press, {', '.join(KINDS)}") from error


def _parent(wanted: Submission) -> str:
    try:
        return parent_of(wanted)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error


def _with_payloads(
    connection: Any, rows: list[TaskRow]
) -> tuple[list[TaskRow], dict[tuple[str, str], bytes]]:
    return rows, queries.latest_payloads(connection, rows)
