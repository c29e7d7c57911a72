"""JSON bodies that say how something is to be done."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from hooks.problems import Problem

T = TypeVar("T", bound=msgspec.Struct)


async def told(request: Request, kind: type[T], *, example: str) -> T:
    """The body as this struct; an empty one as its defaults. Raises `Problem` 422 that shows `example`."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422, f"{error}; write {example}") from error
