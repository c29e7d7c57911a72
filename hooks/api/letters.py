"""/api/dead-letters: what ran out of attempts, and what a person makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from dispatcher import letters
from dispatcher.letters import Letter, Match
from hooks.api import shapes
from hooks.api.bodies import told
from hooks.api.pages import age_cursor, filters, page_of, paged
from hooks.problems import Problem
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.redact import check_whole, restored
from midjourney.requests import KINDS
from midjourney.requests import Request as Submission
from storage import submissions
from storage.engine import Connection, Database

T = TypeVar("T", bool, int)

_WHICH = '{"kind": "submission", "receiver": "…", "upstream": "…", "text": "…"}, or {"all": true}'
_EDITED = '{"request": {"kind": "imagine", "prompt": "…"}}, or nothing'


class Which(Match, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which letters. That nothing is named means all of them, and must be said: a typing mistake is quickly made."""

    all: bool = False


class Edited(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that a submission is to be sent again with; none for the one it has."""

    request: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Letters:
    """Handlers over one database; `dialects` is what each upstream speaks."""

    def __init__(self, database: Database, dialects: Mapping[str, Dialect]) -> None:
        self._database = database
        self._dialects = dialects

    async def list(self, request: Request) -> tuple[int, Any]:
        """Deliveries ("delivery-7") and submissions ("submission-…"), those that died last first.

        `kind`, `receiver`, `upstream` and `text` filter.
        """
        most, cursor = page_of(request)
        match = _match(request)
        found = await self._database.read(
            lambda connection: letters.page(connection, match, most=most, before=age_cursor(cursor))
        )
        last = [found[-1].died_at_ms, found[-1].id] if found else None
        return 200, paged("dead_letters", [shapes.letter_shape(letter) for letter in found], most, last)

    async def one(self, request: Request) -> tuple[int, Any]:
        """One dead letter."""
        letter_id = request.path_params["id"]
        return 200, shapes.letter_shape(await self._found(letter_id))

    async def retry(self, request: Request) -> tuple[int, Any]:
        """Try one again, with all its attempts; a submission with another request, where the body has one.

        202; 404 when it is none, 409 when an upstream may have it, 422 for a request that cannot be.
        """
        letter_id, now_ms = request.path_params["id"], _now_ms()
        edited = await told(request, Edited, example=_EDITED)
        if edited.request is msgspec.UNSET:
            again = await self._write(lambda connection: letters.retry(connection, letter_id, now_ms))
        else:
            again = await edit_and_retry(self._database, self._dialects, letter_id, edited.request, now_ms)
        if not again:
            raise _none(letter_id)
        self._database.wakeups.wake("events", "submissions")
        return 202, {"id": letter_id, "state": "waiting"}

    async def drop(self, request: Request) -> tuple[int, Any]:
        """Give one up for good; it stays as what it was, and says so."""
        letter_id, now_ms = request.path_params["id"], _now_ms()
        if not await self._write(lambda connection: letters.drop(connection, letter_id, now_ms)):
            raise _none(letter_id)
        return 200, {"id": letter_id, "state": "dropped"}

    async def retry_all(self, request: Request) -> tuple[int, Any]:
        """Try all again that match: 202 with how many."""
        return 202, {"count": await self._each_bite(request, letters.retry_all)}

    async def drop_all(self, request: Request) -> tuple[int, Any]:
        """Give all up that match; how many."""
        return 200, {"count": await self._each_bite(request, letters.drop_all)}

    async def _each_bite(self, request: Request, work: Callable[[Connection, Match, int], int]) -> int:
        which = await told(request, Which, example=_WHICH)
        if which.is_empty and not which.all:
            raise Problem(422, f"say which: {_WHICH}")
        count, now_ms = 0, _now_ms()
        while bite := await self._write(lambda connection: work(connection, which, now_ms)):
            count += bite
            self._database.wakeups.wake("events", "submissions")
        return count

    async def _found(self, letter_id: str) -> Letter:
        found = await self._database.read(lambda connection: letters.find(connection, letter_id))
        if found is None:
            raise _none(letter_id)
        return found

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write("command", work)


async def edit_and_retry(
    database: Database, dialects: Mapping[str, Dialect], letter_id: str, edited: dict[str, Any], now_ms: int
) -> bool:
    """Send a submission again with this request, in which what we show cut stands for the whole; tells whether it was
    dead. Raises `Problem` 422 and `CommandError`."""
    kind, _, submission_id = letter_id.partition("-")
    if kind != "submission":
        raise Problem(422, "only a submission has a request")
    found = await database.read(lambda connection: submissions.find(connection, submission_id))
    if found is None:
        return False
    dialect = dialects.get(found.upstream)
    if dialect is None:
        raise Problem(422, f"no upstream {found.upstream!r} is configured that could be asked")
    before = msgspec.json.decode(found.request)
    whole = restored(edited, before)
    try:
        check_whole(whole, before)
        mended = msgspec.convert(whole, Submission)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; `kind` is one of {', '.join(KINDS)}") from error
    return await database.write(
        "command",
        lambda connection: letters.edit_and_retry(
            connection, submission_id, mended, dialect=dialect, now_ms=now_ms
        ),
    )


def _match(request: Request) -> Match:
    try:
        return msgspec.convert(filters(request, *Match.__struct_fields__), Match)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; kind is delivery or submission") from error


def _none(letter_id: str) -> Problem:
    return Problem(404, f"no dead letter {letter_id}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
