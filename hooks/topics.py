"""What open pages show, split into pieces that can be updated separately; see hooks/stream.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from storage.engine import Connection

Marks = Mapping[str, object]
"""For each piece of a page, a value that changes with it."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a page to be updated: a function that renders its HTML in a language, and when it changed (epoch ms)."""

    render: Callable[[str], str]
    changed_at_ms: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of a topic: the marks of all its pieces, and the pieces whose mark differs from the known one.

    `missed` returns the pieces to send to a page that was last updated at a given time (epoch ms); if it is None, those are the
    pieces that have changed since.
    """

    marks: Marks
    changed: list[Piece]
    missed: Callable[[int], list[Piece]] | None = None


class Topic(Protocol):
    """What a page shows. Topics with the same `key` show the same."""

    @property
    def key(self) -> str:
        """The topic's name."""
        ...

    def changes(self, connection: Connection, known: Marks) -> Changes:
        """Read the changes against the `known` marks. Runs in a thread that may block."""
        ...
