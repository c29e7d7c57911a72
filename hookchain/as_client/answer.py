"""An answer as a client sees it, and the ways to read it. Performs no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers (names in small letters) and body."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> object:
        """The body as JSON. Raises `ValueError`."""
        return json.loads(self.raw)


Need = Callable[[Answer], str]
"""Checks an answer; returns what would break in the client, or ""."""


def fields_of(answer: Answer) -> dict[str, object]:
    """The body if it is an object, or {}."""
    try:
        found = answer.json
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def items_of(answer: Answer) -> list[dict[str, object]] | None:
    """The body if it is a list of objects, or None."""
    try:
        found = answer.json
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(item, dict) for item in found) else None
