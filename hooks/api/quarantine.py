"""/api/quarantine: lists bodies that could not be understood, and lets a person retry, edit or drop them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request

from dispatcher.by_hand import readmit
from hooks.api import answers, shapes
from hooks.api.answers import Counted, QuarantineChanged, QuarantinePage, Readmitted
from hooks.api.decode import decode_body
from hooks.api.paging import filters, id_cursor, next_cursor, page_of, row_id
from hooks.problems import Problem
from midjourney.dialects import Dialect
from storage import clock
from storage.engine import Database
from storage.events import quarantine
from storage.events.quarantine import QuarantineFilter

_SELECTION_EXAMPLE = '{"upstream": "…", "text": "…"}, or {"all": true}'
_EDIT_EXAMPLE = '{"body": "…"} with the corrected callback, or nothing'


class QuarantineSelection(QuarantineFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries to retry or drop. Selecting all of them requires `all`."""

    all: bool = False


class EditedBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body to process instead of the one that was received; unset to use the received one."""

    body: str | msgspec.UnsetType = msgspec.UNSET


class Quarantine:
    """Handlers for the quarantine; `dialects` maps each upstream to its dialect."""

    def __init__(self, database: Database, dialects: Mapping[str, Dialect]) -> None:
        self._database = database
        self._dialects = dialects

    async def list(self, request: Request) -> tuple[int, QuarantinePage]:
        """List entries, newest first; filter by `upstream` and `text`."""
        most, cursor = page_of(request)
        match = QuarantineFilter(**filters(request, *QuarantineFilter.__struct_fields__))
        found = await self._database.read(
            lambda connection: quarantine.page(connection, match, most=most, before=id_cursor(cursor))
        )
        return 200, QuarantinePage(
            quarantine=[shapes.quarantine_shape(entry, most=quarantine.SHOWN_BYTES) for entry in found],
            cursor=next_cursor(found, most, lambda entry: (entry.id,)),
        )

    async def get(self, request: Request) -> tuple[int, answers.Quarantined]:
        """Return an entry."""
        entry_id = _entry_id(request)
        entry = await self._database.read(lambda connection: quarantine.find(connection, entry_id))
        if entry is None:
            raise _not_found(entry_id)
        return 200, shapes.quarantine_shape(entry)

    async def retry(self, request: Request) -> tuple[int, Readmitted]:
        """Process a body again, because a newer release may understand it, or process a corrected body.

        202 if it was understood and accepted as a callback; 422 if it still cannot be understood, and stays in quarantine.
        """
        entry_id = _entry_id(request)
        edited = await decode_body(request, EditedBody, example=_EDIT_EXAMPLE)
        body = None if edited.body is msgspec.UNSET else edited.body.encode()
        task = await readmit.retry(
            self._database, entry_id, clock.now_ms(), body=body, dialects=self._dialects
        )
        if task is None:
            raise _not_found(entry_id)
        return 202, Readmitted(id=entry_id, task_id=task.id)

    async def drop(self, request: Request) -> tuple[int, QuarantineChanged]:
        """Delete an entry."""
        entry_id = _entry_id(request)
        if not await self._database.write(
            "command", lambda connection: quarantine.drop(connection, entry_id)
        ):
            raise _not_found(entry_id)
        return 200, QuarantineChanged(id=entry_id, state="dropped")

    async def retry_all(self, request: Request) -> tuple[int, Counted]:
        """Process all matching bodies again: 202 with how many were accepted, and how many still cannot be understood."""
        selection = await _selection(request)
        result = await readmit.retry_all(self._database, selection, clock.now_ms(), dialects=self._dialects)
        return 202, Counted(count=result.count, left=result.left)

    async def drop_all(self, request: Request) -> tuple[int, Counted]:
        """Delete all matching entries; return their number."""
        selection, now_ms, count = await _selection(request), clock.now_ms(), 0
        while batch := await self._database.write(
            "command", lambda connection: quarantine.drop_all(connection, selection, now_ms)
        ):
            count += batch
        return 200, Counted(count=count)


async def _selection(request: Request) -> QuarantineSelection:
    selection = await decode_body(request, QuarantineSelection, example=_SELECTION_EXAMPLE)
    if selection.is_empty and not selection.all:
        raise Problem(422, f"Select what to change: {_SELECTION_EXAMPLE}")
    return selection


def _entry_id(request: Request) -> int:
    return row_id(request.path_params["id"])


def _not_found(entry_id: int) -> Problem:
    return Problem(404, f"There is no quarantined body {entry_id}")
