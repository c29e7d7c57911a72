"""Lists in pages: how many, where the one before ended, and which filters."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from starlette.requests import Request

from hooks.numbers import number
from hooks.problems import Problem

PAGE = 50
LARGEST_PAGE = 500


def row_id(text: str) -> int:
    """A row's number. Raises `Problem` 404 for what none can have: SQLite counts to 2^63."""
    if (found := number(text)) is None:
        raise Problem(404, f"{text[:40]!r} is no number of a row")
    return found


def page_of(request: Request) -> tuple[int, list[Any] | None]:
    """How many entries, and where the page before ended. Raises `Problem` 422."""
    limit = number(request.query_params.get("limit", str(PAGE)), LARGEST_PAGE)
    if not limit:
        raise Problem(422, f"limit is a number from 1 to {LARGEST_PAGE}")
    cursor = request.query_params.get("cursor")
    if not cursor:
        return limit, None
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise Problem(422, "cursor is one that an earlier page gave") from error
    if not isinstance(decoded, list):
        raise Problem(422, "cursor is one that an earlier page gave")
    return limit, decoded


def paged(name: str, found: list[Any], most: int, last: list[Any] | None) -> dict[str, Any]:
    """A page; `cursor` is null on the last one."""
    cursor = (
        base64.urlsafe_b64encode(msgspec.json.encode(last)).decode() if len(found) == most and last else None
    )
    return {name: found, "cursor": cursor}


def age_cursor(cursor: list[Any] | None) -> tuple[int, str] | None:
    """The end of a page by age and id. Raises `Problem` 422."""
    match cursor:
        case None:
            return None
        case [int(age), str(key)] if abs(age) < 2**63:
            return age, key
        case _:
            raise Problem(422, "cursor belongs to another list")


def id_cursor(cursor: list[Any] | None) -> int | None:
    """The end of a page by number. Raises `Problem` 422."""
    match cursor:
        case None:
            return None
        case [int(key)] if abs(key) < 2**63:
            return key
        case _:
            raise Problem(422, "cursor belongs to another list")


def filters(request: Request, *names: str) -> dict[str, str]:
    """The filters that a list was asked with. Raises `Problem` 422 for a character that no text in a database has."""
    for name in names:
        if "\0" in request.query_params.get(name, ""):
            raise Problem(422, f"{name} has a NUL in it, which nothing has")
    return {name: request.query_params[name] for name in names if request.query_params.get(name)}
