"""/api/traffic: how much came, was sent and was run over time, and how long it took; of all processes together."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request

from hooks.numbers import number
from hooks.problems import Problem
from storage import traffic
from storage.engine import Database
from storage.meter import MINUTE_MS

HOUR_MS = 60 * MINUTE_MS

LATEST_MS = 10**15 - 1
"""In the year 33658."""

MOST_POINTS = 3_000
"""Of a series in one answer: two days in minutes."""


class Traffic:
    """A handler over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def traffic(self, request: Request) -> tuple[int, Any]:
        """Each series in steps of `step_s` from `since_ms` until now; the last hour in minutes if not said otherwise."""
        until_ms = time.time_ns() // 1_000_000
        since_ms = _number(request, "since_ms", until_ms - HOUR_MS)
        step_ms = 1000 * _number(request, "step_s", 60)
        if not step_ms or step_ms % MINUTE_MS:
            raise Problem(422, "step_s is a multiple of 60: figures are kept by the minute")
        points = (until_ms - since_ms) // step_ms + 1
        if points > MOST_POINTS:
            raise Problem(
                422,
                f"that is {points} points of a series, at most {MOST_POINTS} are told: take a larger step_s",
            )
        found = await self._database.read(
            lambda connection: traffic.series(connection, since_ms, until_ms, step_ms)
        )
        return 200, {"until_ms": until_ms, "step_s": step_ms // 1000, "series": found}


def _number(request: Request, name: str, otherwise: int) -> int:
    """A number of the query. Raises `Problem` 422."""
    text = request.query_params.get(name, "")
    if not text:
        return otherwise
    if (found := number(text, LATEST_MS)) is None:
        raise Problem(422, f"{name} is a whole number: since_ms epoch milliseconds, step_s seconds")
    return found
