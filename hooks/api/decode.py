"""Decodes the JSON bodies of requests."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from hooks.problems import Problem

T = TypeVar("T", bound=msgspec.Struct)


async def decode_body(request: Request, kind: type[T], *, example: str) -> T:
    """Decode the body as this struct; an empty body gives the defaults. Raises `Problem` 422 with `example`."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422, f"{error}; write {example}") from error
