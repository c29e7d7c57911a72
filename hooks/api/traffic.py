"""/api/traffic: callbacks, submissions and deliveries over time, and how long they took, for all processes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.requests import Request

from hooks.numbers import number
from hooks.problems import Problem
from storage import clock, traffic
from storage.engine import Database
from storage.meter import MINUTE_MS

HOUR_MS = 60 * MINUTE_MS

LATEST_MS = 10**15 - 1
"""The latest accepted time, in the year 33658."""

MOST_POINTS = 3_000
"""Most points of a series in one response: two days in minutes."""


class TrafficSeries(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in each step until `until_ms`, by series."""

    until_ms: int
    step_s: int
    series: Mapping[str, Sequence[traffic.Point]]


class Traffic:
    """The handler of /api/traffic."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def traffic(self, request: Request) -> tuple[int, TrafficSeries]:
        """Return each series in steps of `step_s` from `since_ms` until now; by default the last hour in minutes."""
        until_ms = clock.now_ms()
        since_ms = _number(request, "since_ms", until_ms - HOUR_MS)
        step_ms = 1000 * _number(request, "step_s", 60)
        if not step_ms or step_ms % MINUTE_MS:
            raise Problem(422, "step_s must be a multiple of 60, because figures are kept by the minute")
        points = (until_ms - since_ms) // step_ms + 1
        if points > MOST_POINTS:
            raise Problem(
                422,
                f"The query asks for {points} points of a series, but at most {MOST_POINTS} are returned: use a larger step_s",
            )
        found = await self._database.read(
            lambda connection: traffic.series(connection, since_ms, until_ms, step_ms)
        )
        return 200, TrafficSeries(until_ms=until_ms, step_s=step_ms // 1000, series=found)


def _number(request: Request, name: str, otherwise: int) -> int:
    """Return a number from the query, or `otherwise` if it is missing. Raises `Problem` 422."""
    text = request.query_params.get(name, "")
    if not text:
        return otherwise
    if (value := number(text, LATEST_MS)) is None:
        raise Problem(
            422, f"{name} must be a whole number: since_ms in epoch milliseconds, step_s in seconds"
        )
    return value
