"""/api/dead-letters: lists dead letters, and lets a person retry, edit or drop them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from starlette.requests import Request

from dispatcher.by_hand import dead_letters
from dispatcher.by_hand.dead_letters import DeadLetter, DeadLetterFilter
from hooks.api import answers, shapes
from hooks.api.answers import Counted, DeadLetterChanged, DeadLetterPage
from hooks.api.decode import decode_body
from hooks.api.paging import age_cursor, filters, next_cursor, page_of
from hooks.problems import Problem
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.redact import check_whole, restored
from midjourney.requests import KINDS
from midjourney.requests import Request as Submission
from storage import clock
from storage.engine import Connection, Database
from storage.submissions import submission_queue

T = TypeVar("T", bool, int)

_SELECTION_EXAMPLE = '{"kind": "submission", "receiver": "…", "upstream": "…", "text": "…"}, or {"all": true}'
_EDIT_EXAMPLE = '{"request": {"kind": "imagine", "prompt": "…"}}, or nothing'


class LetterSelection(DeadLetterFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to retry or drop. Selecting all of them requires `all`, so that a typing mistake cannot."""

    all: bool = False


class EditedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to send a submission again with; unset to keep the one it has."""

    request: dict[str, object] | msgspec.UnsetType = msgspec.UNSET


class DeadLetters:
    """Handlers for dead letters; `dialects` maps each upstream to its dialect."""

    def __init__(self, database: Database, dialects: Mapping[str, Dialect]) -> None:
        self._database = database
        self._dialects = dialects

    async def list(self, request: Request) -> tuple[int, DeadLetterPage]:
        """List dead deliveries ("delivery-7") and submissions ("submission-…"), the most recent first.

        Filter by `kind`, `receiver`, `upstream` and `text`.
        """
        most, cursor = page_of(request)
        match = _match(request)
        found = await self._database.read(
            lambda connection: dead_letters.page(connection, match, most=most, before=age_cursor(cursor))
        )
        return 200, DeadLetterPage(
            dead_letters=[shapes.letter_shape(letter) for letter in found],
            cursor=next_cursor(found, most, lambda letter: (letter.died_at_ms, letter.id)),
        )

    async def get(self, request: Request) -> tuple[int, answers.DeadLetter]:
        """Return a dead letter."""
        letter_id = request.path_params["id"]
        return 200, shapes.letter_shape(await self._find(letter_id))

    async def retry(self, request: Request) -> tuple[int, DeadLetterChanged]:
        """Retry a dead letter with a fresh set of attempts; send a submission with the request in the body, if there is one.

        202; 404 if there is no such dead letter, 409 if an upstream may have accepted it, 422 for an invalid request.
        """
        letter_id, now_ms = request.path_params["id"], clock.now_ms()
        edited = await decode_body(request, EditedRequest, example=_EDIT_EXAMPLE)
        if edited.request is msgspec.UNSET:
            again = await self._write(lambda connection: dead_letters.retry(connection, letter_id, now_ms))
        else:
            again = await edit_and_retry(self._database, self._dialects, letter_id, edited.request, now_ms)
        if not again:
            raise _not_found(letter_id)
        self._database.wakeups.wake("events", "submissions")
        return 202, DeadLetterChanged(id=letter_id, state="waiting")

    async def drop(self, request: Request) -> tuple[int, DeadLetterChanged]:
        """Discard a dead letter for good. The record stays, with the state "dropped"."""
        letter_id, now_ms = request.path_params["id"], clock.now_ms()
        if not await self._write(lambda connection: dead_letters.drop(connection, letter_id, now_ms)):
            raise _not_found(letter_id)
        return 200, DeadLetterChanged(id=letter_id, state="dropped")

    async def retry_all(self, request: Request) -> tuple[int, Counted]:
        """Retry all matching dead letters: 202 with their number."""
        return 202, Counted(count=await self._apply_in_batches(request, dead_letters.retry_all))

    async def drop_all(self, request: Request) -> tuple[int, Counted]:
        """Discard all matching dead letters; return their number."""
        return 200, Counted(count=await self._apply_in_batches(request, dead_letters.drop_all))

    async def _apply_in_batches(
        self, request: Request, work: Callable[[Connection, DeadLetterFilter, int], int]
    ) -> int:
        selection = await decode_body(request, LetterSelection, example=_SELECTION_EXAMPLE)
        if selection.is_empty and not selection.all:
            raise Problem(422, f"Select what to change: {_SELECTION_EXAMPLE}")
        count, now_ms = 0, clock.now_ms()
        while batch := await self._write(lambda connection: work(connection, selection, now_ms)):
            count += batch
            self._database.wakeups.wake("events", "submissions")
        return count

    async def _find(self, letter_id: str) -> DeadLetter:
        found = await self._database.read(lambda connection: dead_letters.find(connection, letter_id))
        if found is None:
            raise _not_found(letter_id)
        return found

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write("command", work)


async def edit_and_retry(
    database: Database,
    dialects: Mapping[str, Dialect],
    letter_id: str,
    edited: dict[str, object],
    now_ms: int,
) -> bool:
    """Send a dead submission again with this request; return False if it was not dead. Values that we show shortened stand for the
    stored whole values. Raises `Problem` 422 and `CommandError`."""
    kind, _, submission_id = letter_id.partition("-")
    if kind != "submission":
        raise Problem(422, "Only a submission has a request that can be edited")
    found = await database.read(lambda connection: submission_queue.find(connection, submission_id))
    if found is None:
        return False
    dialect = dialects.get(found.upstream)
    if dialect is None:
        raise Problem(422, f"The submission's upstream {found.upstream!r} is no longer configured")
    before = msgspec.json.decode(found.request)
    whole = restored(edited, before)
    try:
        check_whole(whole, before)
        corrected = msgspec.convert(whole, Submission)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; `kind` must be one of {', '.join(KINDS)}") from error
    return await database.write(
        "command",
        lambda connection: dead_letters.edit_and_retry(
            connection, submission_id, corrected, dialect=dialect, now_ms=now_ms
        ),
    )


def _match(request: Request) -> DeadLetterFilter:
    try:
        return msgspec.convert(filters(request, *DeadLetterFilter.__struct_fields__), DeadLetterFilter)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; kind must be delivery or submission") from error


def _not_found(letter_id: str) -> Problem:
    return Problem(404, f"There is no dead letter {letter_id}")
