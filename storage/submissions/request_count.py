"""Counts the requests that were begun, to recognise a SQLite database that is a restored copy.

The database holds the count, and a small file beside it gets the same count before each request leaves. A restored copy has a
lower count than the file; the difference is the number of requests that it does not know. Attempts that made no task are counted
separately, so that hookchain searches only for those which may have made tasks. The file is not synced: after a power cut it may
be behind, which is harmless.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from storage import settings

_KEY = "sent"

LOCAL_NAME = "-generation"
"""The suffix that the file's name adds to the database's."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts at one upstream: all that were begun, and those that made no task."""

    begun: int = 0
    undone: int = 0


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """The counts that the database and the file beside it hold. `lineage` is the same for a database and its copies only."""

    lineage: str
    counts: dict[str, Count] = {}

    @property
    def number(self) -> int:
        """A number that grows with each attempt, and with each one that made no task."""
        return sum(count.begun + count.undone for count in self.counts.values())


_decoder = msgspec.json.Decoder(Generation)


def new() -> Generation:
    """The generation of a database that has sent nothing yet."""
    return Generation(lineage=secrets.token_hex(8))


def find(connection: Connection) -> Generation | None:
    """The generation in the database; None if it does not count yet."""
    kept = settings.value(connection, _KEY)
    return None if kept is None else _decoder.decode(kept)


def keep(connection: Connection, generation: Generation) -> None:
    """Store it in the database."""
    settings.keep(connection, _KEY, msgspec.json.encode(generation).decode())


def forget(connection: Connection) -> None:
    """Stop counting, because the file cannot be written."""
    settings.forget(connection, _KEY)


def add(connection: Connection, upstream: str, *, begun: int = 0, undone: int = 0) -> Generation | None:
    """Count attempts; returns the new generation, or None if the database does not count."""
    known = find(connection)
    if known is None:
        return None
    count = known.counts.get(upstream, Count())
    count = Count(begun=count.begun + begun, undone=count.undone + undone)
    counted = msgspec.structs.replace(known, counts=known.counts | {upstream: count})
    keep(connection, counted)
    return counted


class GenerationFile:
    """The file beside the database. Only the process that works on the database writes it."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}{LOCAL_NAME}")
        self._shown = -1

    def read(self) -> Generation | None:
        """The generation in the file; None if there is no file, or it is not valid. Raises `OSError`."""
        try:
            return _decoder.decode(self.path.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write(self, generation: Generation) -> None:
        """Write this generation, unless the file has a higher one. Raises `OSError`.

        One call writes the whole content over the old one, so a process that is killed leaves either of them. Renaming a new file
        over it, before each request, took a tenth of a follow-up's time.
        """
        if generation.number <= self._shown:
            return
        content = msgspec.json.encode(generation)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            # Spaces cover the rest of a longer content; JSON allows them.
            whole = content.ljust(os.fstat(handle).st_size)
            if os.write(handle, whole) < len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(handle)
        self._shown = generation.number
