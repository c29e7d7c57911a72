"""The JSON API: its paths and their handlers. The response bodies are in answers.py and reports.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dispatcher.by_hand.commands import CommandError
from dispatcher.plugins.chain import UpstreamHandle
from hooks.api.approvals import Approvals
from hooks.api.chains import Chains
from hooks.api.dead_letters import DeadLetters
from hooks.api.deliveries import Deliveries
from hooks.api.events import Events
from hooks.api.explanations import Explanations
from hooks.api.gateway_clients import GatewayClients
from hooks.api.known import Known
from hooks.api.loaded import GetLoaded, LoadedReceivers
from hooks.api.quarantine import Quarantine
from hooks.api.reports import Loaded
from hooks.api.spending import Spending
from hooks.api.submissions import Submissions
from hooks.api.submitting import Submitting
from hooks.api.tasks import Tasks
from hooks.api.tickets import Tickets
from hooks.api.traffic import Traffic
from hooks.api.uncertain import PendingDecisions
from hooks.api.upstreams import Upstreams
from hooks.api.waiting import WaitingSubmissions
from hooks.auth import Admin
from hooks.gateway_view import NO_GATEWAY, GatewayView
from hooks.problems import Problem
from hooks.quotas import Quota, Quotas
from midjourney.dialects import Dialect, Upstream
from storage.engine import Database

Handler = Callable[[Request], Awaitable[tuple[int, msgspec.Struct | None]]]
"""Returns the status and the response body. Raises `Problem` and `CommandError`."""


class Api:
    """Handlers for one database and its upstreams; `dialects` maps each upstream to its dialect. Without an `admin`, the API answers
    requests from this machine only."""

    def __init__(
        self,
        database: Database,
        upstreams: Mapping[str, Upstream],
        dialects: Mapping[str, Dialect],
        places: Mapping[str, UpstreamHandle],
        *,
        admin: Admin | None = None,
        get_loaded: GetLoaded = Loaded,
        quotas: Quotas | None = None,
        gateway: GatewayView = NO_GATEWAY,
    ) -> None:
        prices = {name: upstream.prices for name, upstream in upstreams.items()}
        self._tasks = Tasks(database)
        self._chains = Chains(database)
        self._events = Events(database)
        self._submissions = Submissions(database)
        self._submitting = Submitting(database, places)
        self._known = Known(database, list(places), prices)
        self._deliveries = Deliveries(database)
        self._letters = DeadLetters(database, dialects)
        self._quarantine = Quarantine(database, dialects)
        self._waiting = WaitingSubmissions(database)
        self._decisions = PendingDecisions(database)
        self._approvals = Approvals(database, prices)
        self._explanations = Explanations(database, gateway, prices)
        self._tickets = Tickets(database, gateway)
        self._clients = GatewayClients(database, gateway)
        self._spending = Spending(database, prices)
        self._loaded = LoadedReceivers(database, get_loaded)
        self._traffic = Traffic(database)
        self._upstreams = Upstreams(database, upstreams, quotas or Quotas(Quota()))
        self._admin = admin or Admin()

    def routes(self) -> list[BaseRoute]:
        """Return the routes of all paths under /api."""
        table: list[tuple[str, Handler, str]] = [
            ("/api/tasks", self._tasks.list, "GET"),
            ("/api/tasks/{upstream}/{task_id:path}", self._tasks.get, "GET"),
            ("/api/tickets", self._tickets.list, "GET"),
            ("/api/tickets/{id}", self._tickets.get, "GET"),
            ("/api/clients", self._clients.list, "GET"),
            ("/api/clients/{name}", self._clients.get, "GET"),
            ("/api/chains", self._chains.list, "GET"),
            ("/api/chains/{id}", self._chains.get, "GET"),
            ("/api/events", self._events.list, "GET"),
            ("/api/events/{id}", self._events.get, "GET"),
            ("/api/submissions", self._submissions.list, "GET"),
            ("/api/submissions", self._submitting.submit, "POST"),
            ("/api/submissions/known", self._known.list, "POST"),
            ("/api/submissions/{id}", self._submissions.get, "GET"),
            ("/api/deliveries", self._deliveries.list, "GET"),
            ("/api/deliveries/{id}", self._deliveries.get, "GET"),
            ("/api/dead-letters", self._letters.list, "GET"),
            ("/api/dead-letters/retry", self._letters.retry_all, "POST"),
            ("/api/dead-letters/drop", self._letters.drop_all, "POST"),
            ("/api/dead-letters/{id}", self._letters.get, "GET"),
            ("/api/dead-letters/{id}/retry", self._letters.retry, "POST"),
            ("/api/dead-letters/{id}/drop", self._letters.drop, "POST"),
            ("/api/quarantine", self._quarantine.list, "GET"),
            ("/api/quarantine/retry", self._quarantine.retry_all, "POST"),
            ("/api/quarantine/drop", self._quarantine.drop_all, "POST"),
            ("/api/quarantine/{id}", self._quarantine.get, "GET"),
            ("/api/quarantine/{id}/retry", self._quarantine.retry, "POST"),
            ("/api/quarantine/{id}/drop", self._quarantine.drop, "POST"),
            ("/api/uncertain", self._decisions.uncertain, "GET"),
            ("/api/uncertain/{id}/settle", self._decisions.settle, "POST"),
            ("/api/waiting", self._waiting.list, "GET"),
            ("/api/waiting/{id}/drop", self._waiting.drop, "POST"),
            ("/api/waiting/{id}/send-now", self._waiting.send_now, "POST"),
            ("/api/refused", self._decisions.refused, "GET"),
            ("/api/refused/{id}/release", self._decisions.release, "POST"),
            ("/api/approvals", self._approvals.list, "GET"),
            ("/api/approvals/{id}", self._approvals.get, "GET"),
            ("/api/approvals/{id}/release", self._approvals.release, "POST"),
            ("/api/approvals/{id}/drop", self._approvals.drop, "POST"),
            ("/api/explain/{id:path}", self._explanations.explain, "GET"),
            ("/api/events/{id}/replay", self._events.replay, "POST"),
            ("/api/costs", self._spending.costs, "GET"),
            ("/api/budgets", self._spending.budgets, "GET"),
            ("/api/rules", self._loaded.rules, "GET"),
            ("/api/plugins", self._loaded.plugins, "GET"),
            ("/api/traffic", self._traffic.traffic, "GET"),
            ("/api/upstreams", self._upstreams.list, "GET"),
            ("/api/upstreams/{name}/pause", self._upstreams.pause, "POST"),
            ("/api/upstreams/{name}/resume", self._upstreams.resume, "POST"),
        ]
        return [Route(path, self._guarded(handler), methods=[method]) for path, handler, method in table]

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
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
