"""/api/uncertain and /api/refused: submissions that need a person's decision."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from hooks.api import answers, shapes
from hooks.api.answers import Refused, Uncertain
from hooks.api.decode import decode_body
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection, Database
from storage.reading import pages
from storage.records import BY_HAND, Submission
from storage.submissions import proof, releases, submission_queue

_MOST = 500
_SETTLEMENT_EXAMPLE = '{"accepted": true, "task_id": "…"}, or {"accepted": false}'


class Settlement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's decision: whether the upstream accepted the submission and, if so, the task that it made."""

    accepted: bool
    task_id: str = ""


class PendingDecisions:
    """Handlers for uncertain and refused submissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def uncertain(self, _request: Request) -> tuple[int, Uncertain]:
        """List submissions with an unknown outcome, newest first."""
        return 200, Uncertain(uncertain=await self._in_state("uncertain"))

    async def refused(self, _request: Request) -> tuple[int, Refused]:
        """List submissions that a budget refused, newest first."""
        return 200, Refused(refused=await self._in_state("refused"))

    async def settle(self, request: Request) -> tuple[int, answers.Submission | None]:
        """Settle an uncertain submission: if the upstream accepted it, its task is followed; if not, it is sent again."""
        settlement = await decode_body(request, Settlement, example=_SETTLEMENT_EXAMPLE)
        submission_id, now_ms = request.path_params["id"], clock.now_ms()

        def settle(connection: Connection) -> bool:
            found = submission_queue.find(connection, submission_id)
            return found is not None and proof.settle_by_hand(
                connection,
                found,
                accepted=settlement.accepted,
                task_id=settlement.task_id,
                now_ms=now_ms,
            )

        if not await self._database.write("command", settle):
            raise Problem(404, f"There is no uncertain submission {submission_id!r}")
        return await self._changed(submission_id)

    async def release(self, request: Request) -> tuple[int, answers.Submission | None]:
        """Send a submission that a budget refused, even if the budget is used up."""
        submission_id, now_ms = request.path_params["id"], clock.now_ms()
        released = await self._database.write(
            "command",
            lambda connection: releases.release(connection, submission_id, now_ms, by=f"{BY_HAND}api"),
        )
        if not released:
            raise Problem(404, f"There is no refused submission {submission_id!r}")
        return await self._changed(submission_id)

    async def _changed(self, submission_id: str) -> tuple[int, answers.Submission | None]:
        self._database.wakeups.wake("events", "submissions")
        found = await self._database.read(lambda connection: submission_queue.find(connection, submission_id))
        return 202, None if found is None else shapes.submission_shape(found)

    async def _in_state(self, state: str) -> list[answers.Submission]:
        found: list[Submission] = await self._database.read(
            lambda connection: pages.submission_page(connection, most=_MOST, equal={"state": state})
        )
        return [shapes.submission_shape(submission) for submission in found]
