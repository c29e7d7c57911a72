"""Pages lists: the page size, where the previous page ended, and the filters."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from starlette.requests import Request

from hooks.numbers import number
from hooks.problems import Problem

T = TypeVar("T")

PAGE = 50
LARGEST_PAGE = 500


def row_id(text: str) -> int:
    """Parse a row's number. Raises `Problem` 404 for one that no row can have: SQLite counts to 2^63."""
    if (row := number(text)) is None:
        raise Problem(404, f"{text[:40]!r} is not a valid row number")
    return row


def page_of(request: Request) -> tuple[int, list[object] | None]:
    """Return the page size, and where the previous page ended. Raises `Problem` 422."""
    limit = number(request.query_params.get("limit", str(PAGE)), LARGEST_PAGE)
    if not limit:
        raise Problem(422, f"limit must be a number from 1 to {LARGEST_PAGE}")
    cursor = request.query_params.get("cursor")
    if not cursor:
        return limit, None
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise Problem(422, "cursor must be one that an earlier page returned") from error
    if not isinstance(decoded, list):
        raise Problem(422, "cursor must be one that an earlier page returned")
    return limit, decoded


def next_cursor(found: Sequence[T], most: int, end: Callable[[T], Sequence[object]]) -> str | None:
    """Return the cursor of the next page, which begins after the last entry; None after the last page. `end` gives an entry's
    place in the order."""
    if len(found) < most:
        return None
    return cursor_of(end(found[-1]))


def cursor_of(place: Sequence[object] | None) -> str | None:
    """Encode the place where the next page begins as a cursor; None after the last page."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def age_cursor(cursor: list[object] | None) -> tuple[int, str] | None:
    """Decode the cursor of a list ordered by age and id. Raises `Problem` 422."""
    match cursor:
        case None:
            return None
        case [int(age), str(key)] if abs(age) < 2**63:
            return age, key
        case _:
            raise Problem(422, "cursor belongs to another list")


def id_cursor(cursor: list[object] | None) -> int | None:
    """Decode the cursor of a list ordered by number. Raises `Problem` 422."""
    match cursor:
        case None:
            return None
        case [int(key)] if abs(key) < 2**63:
            return key
        case _:
            raise Problem(422, "cursor belongs to another list")


def filters(request: Request, *names: str) -> dict[str, str]:
    """Return the filters in the query. Raises `Problem` 422 for a NUL character, which no text in the database can contain."""
    for name in names:
        if "\0" in request.query_params.get(name, ""):
            raise Problem(422, f"{name} contains a NUL character, which no stored text has")
    return {name: request.query_params[name] for name in names if request.query_params.get(name)}
