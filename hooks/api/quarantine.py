"""/api/quarantine: bodies that could not be understood, and what a person makes of them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request

from dispatcher import readmit
from hooks.api import shapes
from hooks.api.bodies import told
from hooks.api.pages import filters, id_cursor, page_of, paged, row_id
from hooks.problems import Problem
from storage import quarantine
from storage.engine import Database
from storage.quarantine import Match

_WHICH = '{"upstream": "…", "text": "…"}, or {"all": true}'
_EDITED = '{"body": "…"}, the callback as it should have come, or nothing'


class Which(Match, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries. That nothing is named means all of them, and must be said."""

    all: bool = False


class Edited(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body to be read in place of the one that came; none for that one."""

    body: str | msgspec.UnsetType = msgspec.UNSET


class Quarantine:
    """Handlers over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, Any]:
        """Entries, newest first; `upstream` and `text` filter."""
        most, cursor = page_of(request)
        match = Match(**filters(request, *Match.__struct_fields__))
        found = await self._database.read(
            lambda connection: quarantine.page(connection, match, most=most, before=id_cursor(cursor))
        )
        last = [found[-1].id] if found else None
        return 200, paged("quarantine", [shapes.quarantine_shape(entry) for entry in found], most, last)

    async def one(self, request: Request) -> tuple[int, Any]:
        """One body that could not be understood."""
        entry_id = _entry_id(request)
        entry = await self._database.read(lambda connection: quarantine.find(connection, entry_id))
        if entry is None:
            raise _none(entry_id)
        return 200, shapes.quarantine_shape(entry)

    async def retry(self, request: Request) -> tuple[int, Any]:
        """Read a body again, which a newer release may understand, or a mended one in its place.

        202, and it comes in as the callback it is; 422 when it is none still, and stays.
        """
        entry_id = _entry_id(request)
        edited = await told(request, Edited, example=_EDITED)
        body = None if edited.body is msgspec.UNSET else edited.body.encode()
        task = await readmit.retry(self._database, entry_id, _now_ms(), body=body)
        if task is None:
            raise _none(entry_id)
        return 202, {"id": entry_id, "task_id": task.id}

    async def drop(self, request: Request) -> tuple[int, Any]:
        """Forget a body."""
        entry_id = _entry_id(request)
        if not await self._database.write(
            "command", lambda connection: quarantine.drop(connection, entry_id)
        ):
            raise _none(entry_id)
        return 200, {"id": entry_id, "state": "dropped"}

    async def retry_all(self, request: Request) -> tuple[int, Any]:
        """Read all bodies again that match: 202 with how many came in, and how many are left, still not understood."""
        which = await _which(request)
        came = await readmit.retry_all(self._database, which, _now_ms())
        return 202, msgspec.structs.asdict(came)

    async def drop_all(self, request: Request) -> tuple[int, Any]:
        """Forget all that match; how many."""
        which, now_ms, count = await _which(request), _now_ms(), 0
        while bite := await self._database.write(
            "command", lambda connection: quarantine.drop_all(connection, which, now_ms)
        ):
            count += bite
        return 200, {"count": count}


async def _which(request: Request) -> Which:
    which = await told(request, Which, example=_WHICH)
    if which.is_empty and not which.all:
        raise Problem(422, f"say which: {_WHICH}")
    return which


def _entry_id(request: Request) -> int:
    return row_id(request.path_params["id"])


def _none(entry_id: int) -> Problem:
    return Problem(404, f"nothing is in quarantine as {entry_id}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
