"""/healthz: the process is alive. /readyz: it can write, and its worker turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from storage import leases
from storage import settings as stored
from storage.engine import Database
from storage.errors import StorageError

READY_WITHIN_S = 3.0
"""Seconds the database gets to take a write; platforms want an answer well under 5 (Render)."""


class Health:
    """The two questions a platform asks. `worker` tells whether the loops turn; None where there is no worker here."""

    def __init__(self, database: Database, worker: Callable[[], bool] | None) -> None:
        self._database = database
        self._worker = worker

    def routes(self) -> list[BaseRoute]:
        """Both paths, open to everybody: they tell nothing else."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    async def healthz(self, _request: Request) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """200 when the database takes a write and the worker turns, else 503 with what does not."""
        checks = {"database": await self._database_writes()}
        if self._worker is not None:
            checks["worker"] = self._worker()
        ready = all(checks.values())
        body: dict[str, object] = {"status": "ready" if ready else "not ready", "checks": checks}
        if self._worker is None and self._database.worker_lock is None and ready:
            body["workers"] = await self._database.read(leases.alive)
        return Response(msgspec.json.encode(body), 200 if ready else 503, media_type="application/json")

    async def _database_writes(self) -> bool:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._database.write("ready", stored.touch)
        except (StorageError, TimeoutError):
            return False
        return True
