"""/api/uncertain and /api/refused: submissions that wait for a person's word."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request

from hooks.api import shapes
from hooks.api.bodies import told
from hooks.problems import Problem
from storage import queries, settlements, staging, submissions
from storage.engine import Connection, Database
from storage.records import Submission

_MOST = 500
_SETTLED = '{"accepted": true, "task_id": "…"}, or {"accepted": false}'


class Settled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person knows: whether the upstream took it and, if so, the task it made."""

    accepted: bool
    task_id: str = ""


class ByHand:
    """Handlers over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def uncertain(self, _request: Request) -> tuple[int, Any]:
        """Submissions that nobody knows the end of, newest first."""
        return 200, {"uncertain": await self._in_state("uncertain")}

    async def refused(self, _request: Request) -> tuple[int, Any]:
        """Submissions that the budget did not allow, newest first."""
        return 200, {"refused": await self._in_state("refused")}

    async def settle(self, request: Request) -> tuple[int, Any]:
        """Say whether the upstream took it: accepted, its task is followed; not accepted, it is sent again."""
        known = await told(request, Settled, example=_SETTLED)
        submission_id, now_ms = request.path_params["id"], time.time_ns() // 1_000_000

        def settle(connection: Connection) -> bool:
            found = submissions.find(connection, submission_id)
            return found is not None and settlements.settle_by_hand(
                connection, found, accepted=known.accepted, task_id=known.task_id, now_ms=now_ms
            )

        if not await self._database.write("command", settle):
            raise Problem(404, f"no uncertain submission {submission_id!r}")
        return await self._changed(submission_id)

    async def release(self, request: Request) -> tuple[int, Any]:
        """Send what the budget had refused."""
        submission_id, now_ms = request.path_params["id"], time.time_ns() // 1_000_000
        released = await self._database.write(
            "command", lambda connection: staging.release(connection, submission_id, now_ms)
        )
        if not released:
            raise Problem(404, f"no refused submission {submission_id!r}")
        return await self._changed(submission_id)

    async def _changed(self, submission_id: str) -> tuple[int, Any]:
        self._database.wakeups.wake("events", "submissions")
        found = await self._database.read(lambda connection: submissions.find(connection, submission_id))
        return 202, None if found is None else shapes.submission_shape(found)

    async def _in_state(self, state: str) -> list[Any]:
        found: list[Submission] = await self._database.read(
            lambda connection: queries.submission_page(connection, most=_MOST, equal={"state": state})
        )
        return [shapes.submission_shape(one) for one in found]
