"""/api/dead-letters and /api/quarantine: what waits for a person, and what the person says."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request

from dispatcher import commands
from hooks import shapes
from hooks.pages import id_cursor, page_of, paged, row_id
from hooks.problems import Problem
from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from storage import quarantine, queries, submissions
from storage.engine import Database
from storage.records import Incoming


class Letters:
    """Handlers over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def dead_letters(self, request: Request) -> tuple[int, Any]:
        """What ran out of attempts: deliveries ("delivery-7") and submissions ("submission-…"), newest first."""
        most, _ = page_of(request)
        dead_deliveries, dead_submissions = await self._database.read(
            lambda connection: (
                queries.delivery_page(connection, most=most, equal={"state": "dead"}),
                queries.submission_page(connection, most=most, equal={"state": "dead"}),
            )
        )
        letters = [_dead("delivery", shapes.delivery_shape(one)) for one in dead_deliveries]
        letters += [_dead("submission", shapes.submission_shape(one)) for one in dead_submissions]
        letters.sort(key=lambda letter: letter["died_at"], reverse=True)
        return 200, {"dead_letters": letters[:most], "cursor": None}

    async def dead_letter(self, request: Request) -> tuple[int, Any]:
        """One dead letter."""
        kind, key = _letter_id(request)
        if kind == "delivery":
            delivery = await self._database.read(
                lambda connection: queries.find_delivery(connection, int(key))
            )
            if delivery is not None and delivery.state == "dead":
                return 200, _dead(kind, shapes.delivery_shape(delivery))
        else:
            submission = await self._database.read(lambda connection: submissions.find(connection, key))
            if submission is not None and submission.state == "dead":
                return 200, _dead(kind, shapes.submission_shape(submission))
        raise Problem(404, f"no dead letter {kind}-{key}")

    async def retry_dead_letter(self, request: Request) -> tuple[int, Any]:
        """Try a dead letter again, with all its attempts: 202, or 404 when it is none."""
        kind, key = _letter_id(request)
        now_ms = time.time_ns() // 1_000_000
        if kind == "delivery":
            again = await self._database.write(
                "command", lambda connection: commands.retry_delivery(connection, int(key), now_ms)
            )
        else:
            again = await self._database.write(
                "command", lambda connection: commands.retry_submission(connection, key, now_ms)
            )
        if not again:
            raise Problem(404, f"no dead letter {kind}-{key}")
        self._database.wakeups.wake("events", "submissions")
        return 202, {"id": f"{kind}-{key}", "state": "waiting"}

    async def quarantine(self, request: Request) -> tuple[int, Any]:
        """Bodies that could not be understood, newest first."""
        most, cursor = page_of(request)
        found = await self._database.read(
            lambda connection: queries.quarantine_page(connection, most=most, before=id_cursor(cursor))
        )
        last = [found[-1].id] if found else None
        return 200, paged("quarantine", [shapes.quarantine_shape(entry) for entry in found], most, last)

    async def drop_dead_letter(self, request: Request) -> tuple[int, Any]:
        """Give a dead letter up for good; it stays as what it was, and says so."""
        kind, key = _letter_id(request)
        now_ms = time.time_ns() // 1_000_000
        dropped = await self._database.write(
            "command",
            lambda connection: (
                commands.drop_delivery(connection, int(key), now_ms)
                if kind == "delivery"
                else commands.drop_submission(connection, key, now_ms)
            ),
        )
        if not dropped:
            raise Problem(404, f"no dead letter {kind}-{key}")
        return 200, {"id": f"{kind}-{key}", "state": "dropped"}

    async def quarantined(self, request: Request) -> tuple[int, Any]:
        """One body that could not be understood."""
        entry_id = row_id(str(request.path_params["id"]))
        entry = await self._database.read(lambda connection: quarantine.find(connection, entry_id))
        if entry is None:
            raise Problem(404, f"nothing is in quarantine as {entry_id}")
        return 200, shapes.quarantine_shape(entry)

    async def retry_quarantined(self, request: Request) -> tuple[int, Any]:
        """Read a body again, which a newer release may understand: 202, and it comes in as the callback it is."""
        entry_id = row_id(str(request.path_params["id"]))
        entry = await self._database.read(lambda connection: quarantine.find(connection, entry_id))
        if entry is None:
            raise Problem(404, f"nothing is in quarantine as {entry_id}")
        try:
            task = decode_task(entry.body)
        except Undecodable as error:
            raise Problem(422, f"{error.reason}; it stays in quarantine") from error
        await self._database.append(
            Incoming(
                upstream=entry.upstream,
                task=task,
                submission_id=entry.submission_id,
                source="callback",
                received_at_ms=time.time_ns() // 1_000_000,
            )
        )
        await self._database.write("command", lambda connection: quarantine.drop(connection, entry_id))
        return 202, {"id": entry_id, "task_id": task.id}

    async def drop_quarantined(self, request: Request) -> tuple[int, Any]:
        """Forget a body."""
        entry_id = row_id(str(request.path_params["id"]))
        if not await self._database.write(
            "command", lambda connection: quarantine.drop(connection, entry_id)
        ):
            raise Problem(404, f"nothing is in quarantine as {entry_id}")
        return 200, {"id": entry_id, "state": "dropped"}


def _letter_id(request: Request) -> tuple[str, str]:
    kind, _, key = request.path_params["id"].partition("-")
    if kind not in ("delivery", "submission"):
        raise Problem(404, "a dead letter's id is delivery-NUMBER or submission-ID")
    if kind == "delivery":
        row_id(key)
    return kind, key


def _dead(kind: str, shape: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"{kind}-{shape['id']}", "kind": kind, "died_at": shape["updated_at"], kind: shape}
