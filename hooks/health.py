"""/healthz: the process and its writer are alive. /readyz: the database is writable, a worker is alive, and due submissions are sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dispatcher.loops.watch import stalls
from dispatcher.policy.stalls import Stall
from midjourney.dialects import Upstream
from storage import settings as stored
from storage.engine import Database
from storage.errors import StorageError
from storage.workers import leases

READY_WITHIN_S = 3.0
"""Seconds within which the database must accept a write; platforms expect a response well under 5 (Render)."""

REMEMBERED_S = 1.0
"""Seconds for which a result of `/readyz` is reused: each check costs a commit, and any stranger may request it."""


class Health:
    """The two health checks of a platform. `worker` returns True while the loops run; it is None if this process has no worker."""

    def __init__(
        self, database: Database, worker: Callable[[], bool] | None, upstreams: Mapping[str, Upstream]
    ) -> None:
        self._database = database
        self._worker = worker
        self._upstreams = upstreams
        self._check: asyncio.Task[tuple[int, bytes]] | None = None
        self._checked_s = 0.0

    def routes(self) -> list[BaseRoute]:
        """Return both routes. They are open to everybody, because they reveal nothing else."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _request: Request) -> Response:
        """Respond 200 while the writer runs; 503 once it has ended, since only a new process helps then. While the database is
        unavailable the response stays 200, because a restart would not help."""
        if not self._database.is_writing:
            return JSONResponse({"status": "the writer has ended"}, 503)
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Respond 200 if the database accepts a write, the worker runs and submissions are sent, else 503 with what fails.

        The body always says why submissions are stalled; only stalls that do not end by themselves cause a 503. The result is at
        most `REMEMBERED_S` old, and requests that arrive during a check share it.
        """
        if self._check is None or (self._check.done() and time.monotonic() - self._checked_s >= REMEMBERED_S):
            self._check = asyncio.create_task(self._timed_check())
        status, body = await asyncio.shield(self._check)
        return Response(body, status, media_type="application/json")

    async def _timed_check(self) -> tuple[int, bytes]:
        try:
            return await self._run_checks()
        finally:
            self._checked_s = time.monotonic()

    async def _run_checks(self) -> tuple[int, bytes]:
        checks = {"database": await self._database_writes()}
        if self._worker is not None:
            checks["worker"] = self._worker()
        stalled = await self._stalled() if checks["database"] else {}
        if any(stall.is_fault for stall in stalled.values()):
            checks["submitting"] = False
        ready = all(checks.values())
        body: dict[str, object] = {"status": "ready" if ready else "not ready", "checks": checks}
        if stalled:
            body["stalled"] = {name: stall.sentence for name, stall in stalled.items()}
        if self._worker is None and self._database.worker_lock is None and ready:
            body["workers"] = await self._database.read(leases.alive)
        return 200 if ready else 503, msgspec.json.encode(body)

    async def _stalled(self) -> dict[str, Stall]:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                return await self._database.read(lambda connection: stalls(connection, self._upstreams))
        except (StorageError, TimeoutError):
            # The database accepts writes but is too busy to read the reasons.
            return {}

    async def _database_writes(self) -> bool:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._database.write("ready", stored.touch)
        except (StorageError, TimeoutError):
            return False
        return True
