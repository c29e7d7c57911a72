"""/api/upstreams: how each upstream is doing, and stopping and starting it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from hooks.problems import Problem
from midjourney.dialects import Upstream
from storage import health
from storage import upstreams as stored
from storage.engine import Connection, Database
from storage.upstreams import Standing


class Upstreams:
    """Handlers over the configured upstreams."""

    def __init__(self, database: Database, upstreams: Mapping[str, Upstream]) -> None:
        self._database = database
        self._upstreams = upstreams

    async def list(self, _request: Request) -> tuple[int, Any]:
        """All of them, with what waits and how their callbacks come; without keys."""
        return 200, {"upstreams": await self._database.read(self._shown)}

    async def pause(self, request: Request) -> tuple[int, Any]:
        """Submit nothing there until it is resumed; what waits is kept."""
        name = self._named(request)
        await self._database.write("command", lambda connection: stored.pause(connection, name))
        return 200, {"upstream": name, "paused": True}

    async def resume(self, request: Request) -> tuple[int, Any]:
        """Go on."""
        name = self._named(request)
        await self._database.write("command", lambda connection: stored.resume(connection, name))
        self._database.wakeups.wake("submissions")
        return 200, {"upstream": name, "paused": False}

    def _named(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._upstreams:
            raise Problem(404, f"no upstream {name!r}; there are: {', '.join(sorted(self._upstreams))}")
        return name

    def _shown(self, connection: Connection) -> Any:
        known = stored.every(connection)
        standing = {name: known.get(name, Standing(name=name)) for name in self._upstreams}
        return [
            {
                "name": name,
                "url": upstream.url,
                "dialect": upstream.dialect,
                "paused": standing[name].paused,
                "breaker": "open" if standing[name].open_ms else "closed",
                "submissions": health.submissions_by_state(connection, name),
                "callbacks": health.callbacks(connection, name),
            }
            for name, upstream in sorted(self._upstreams.items())
        ]
