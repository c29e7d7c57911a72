"""/api/explain, /api/replay, /api/costs, /api/rules, /api/plugins: why things happened, and what they came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from starlette.requests import Request

from dispatcher.costs import Prices, sums
from hooks.api import shapes
from hooks.api.bodies import told
from hooks.api.pages import row_id
from hooks.numbers import number
from hooks.problems import Problem
from storage import explained, ledger, queries, replay
from storage.engine import Database

Loaded = Callable[[], dict[str, Any]]
"""The rules and plugins that run in this process, as the API shows them."""

NOTHING_LOADED: dict[str, Any] = {
    "rules": {"file": "", "error": "", "loaded_at": None, "rules": []},
    "plugins": {"plugins": []},
    "receivers": {},
}
"""What a process without rules and plugins shows."""

BY = ("rule", "chain", "day", "upstream")


class Again(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an event is sent through again. `force`: what it makes receivers submit is submitted, and paid for, again."""

    force: bool = False


class Decisions:
    """Handlers over one database."""

    def __init__(self, database: Database, prices: Prices, loaded: Loaded) -> None:
        self._database = database
        self._prices = prices
        self._loaded = loaded

    async def explain(self, request: Request) -> tuple[int, Any]:
        """A task's whole story."""
        task_id, upstream = request.path_params["task_id"], request.query_params.get("upstream", "")
        upstreams = [upstream] if upstream else await self._upstreams_of(task_id)
        if len(upstreams) > 1:
            raise Problem(
                422, f"several upstreams have a task {task_id!r}: name one of {', '.join(upstreams)}"
            )
        found = None
        if upstreams:
            found = await self._database.read(
                lambda connection: explained.explained(connection, upstreams[0], task_id)
            )
        if found is None:
            raise Problem(404, f"no task {task_id!r}")
        return 200, shapes.explained_shape(found)

    async def replay(self, request: Request) -> tuple[int, Any]:
        """Send a recorded event through again: 202 with the id of the new event."""
        event_id = row_id(request.path_params["id"])
        asked = await told(request, Again, example='{"force": true}, or nothing')
        now_ms = time.time_ns() // 1_000_000
        try:
            made = await self._database.write(
                "command",
                lambda connection: replay.replay(connection, event_id, force=asked.force, now_ms=now_ms),
            )
        except ValueError as error:
            raise Problem(422, str(error)) from error
        if made is None:
            raise Problem(404, f"no event {event_id}")
        self._database.wakeups.wake("events")
        return 202, {"event": event_id, "replayed_as": made[1], "forced": asked.force}

    async def costs(self, request: Request) -> tuple[int, Any]:
        """What was spent, refunded and saved since `since_ms`, by rule, chain, day or upstream."""
        by, since_ms = (
            request.query_params.get("by", "rule"),
            number(request.query_params.get("since_ms", "0")),
        )
        if by not in BY or since_ms is None:
            raise Problem(422, f"by is one of {', '.join(BY)}; since_ms is epoch milliseconds")
        wanted: Literal["rule", "chain", "day", "upstream"] = by  # type: ignore[assignment]  # one of BY
        found = await self._database.read(
            lambda connection: sums(ledger.entries(connection, since_ms), self._prices, wanted)
        )
        return 200, {
            "by": by,
            "costs": [
                {"key": key, "net": round(one.net, 6)} | msgspec.structs.asdict(one)
                for key, one in found.items()
            ],
        }

    async def rules(self, _request: Request) -> tuple[int, Any]:
        """The rules that run, how often each fired, and whether the file on disk is the one that runs."""
        return 200, self._loaded()["rules"] | {"receivers": await self._receivers("rule:")}

    async def plugins(self, _request: Request) -> tuple[int, Any]:
        """What is loaded, from where, which signals it listens to, and how its deliveries went."""
        return 200, self._loaded()["plugins"] | {"receivers": await self._receivers("")}

    async def _receivers(self, prefix: str) -> list[dict[str, Any]]:
        counted: Mapping[str, dict[str, int]] = await self._database.read(queries.deliveries_by_receiver)
        nothing = {"done": 0, "waiting": 0, "running": 0, "failing": 0, "dead": 0, "fired": 0}
        loaded: dict[str, Any] = self._loaded()["receivers"]
        return [
            {"name": name, "loaded": name in loaded, "signals": loaded.get(name, [])}
            | nothing
            | counted.get(name, {})
            for name in sorted({*loaded, *counted})
            if name.startswith(prefix)
        ]

    async def _upstreams_of(self, task_id: str) -> list[str]:
        return await self._database.read(lambda connection: queries.upstreams_of_task(connection, task_id))
