"""What open pages show, in pieces that can be told anew: see hooks/stream.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from storage.engine import Connection

Marks = Mapping[str, object]
"""For each piece of a page a value that changes with it."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a page that is to be written anew: when it changed (epoch ms), and its HTML by language."""

    render: Callable[[str], str]
    changed_at_ms: int


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic is like now: the marks of all its pieces, and those pieces whose mark was not the known one.

    `missed` chooses what a page lacks that was told last at a time (epoch ms); without it, what has changed since.
    """

    marks: Marks
    changed: list[Piece]
    missed: Callable[[int], list[Piece]] | None = None


class Topic(Protocol):
    """What a page shows. Topics of one `key` show the same."""

    @property
    def key(self) -> str:
        """Its name."""
        ...

    def look(self, connection: Connection, known: Marks) -> Look:
        """Its pieces; asked in a thread that may block."""
        ...
