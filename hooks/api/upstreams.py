"""/api/upstreams: how each upstream is doing, and stopping and starting it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from hooks.problems import Problem
from midjourney.dialects import Upstream
from storage import gauges, health
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
        found = await self._database.read(lambda connection: standing(connection, self._upstreams))
        return 200, {"upstreams": found}

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


def standing(connection: Connection, upstreams: Mapping[str, Upstream]) -> list[dict[str, Any]]:
    """How each of them is doing, by name; without keys."""
    known, counted = stored.every(connection), gauges.submissions_by_state(connection)
    now = {name: known.get(name, Standing(name=name)) for name in upstreams}
    return [
        {
            "name": name,
            "url": upstream.url,
            "dialect": upstream.dialect,
            "paused": now[name].paused,
            "breaker": "open" if now[name].open_ms else "closed",
            "submissions": {state: count for (at, state), count in counted.items() if at == name},
            "callbacks": health.callbacks(connection, name),
        }
        for name, upstream in sorted(upstreams.items())
    ]
