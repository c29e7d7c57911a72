"""Logs which attempts have left this process, so that an attempt that certainly did not leave is not treated as uncertain.

An attempt is on disk as "sending" before its request leaves. If the process stops in between, the database alone cannot
distinguish a request that was under way from one that never left. So each attempt is logged just before its request leaves: in
memory for this process, and in a file beside a SQLite database for the next process.

The file is not synced: an entry costs microseconds, survives `kill -9`, and is lost when the machine stops. So a file is valid
only until its machine reboots (`boot_id`). Without a valid file, interrupted attempts are uncertain.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from storage.records import Submission

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux gives each boot an id. On other systems the file is never valid."""

MOST_NOTES = 100_000
"""Entries in a file before a new file is begun: 3 MB."""


class EarlierDepartures(msgspec.Struct, frozen=True, kw_only=True):
    """The log of an earlier worker: its name, and the attempts that it logged since `since_ms`."""

    worker: str = ""
    since_ms: int = 0
    noted: frozenset[tuple[str, int]] = frozenset()

    def may_have_left(self, submission: Submission) -> bool:
        """True if the current attempt of one of that worker's submissions may have left."""
        if (submission.started_at_ms or 0) < self.since_ms:
            return True
        return (submission.id, submission.attempts) in self.noted


class Departures:
    """The departures of one worker. `database` is the SQLite file, or None on PostgreSQL."""

    def __init__(self, database: Path | None, worker: str, clock: Callable[[], int]) -> None:
        self._path = None if database is None else database.with_name(f"{database.name}-departures")
        self._worker = worker
        self._clock = clock
        self._left: set[tuple[str, int]] = set()
        self._file: int | None = None
        self._notes = 0

    def before(self) -> EarlierDepartures | None:
        """The log of the last worker on this database; None if it is missing or no longer valid."""
        if self._path is None:
            return None
        try:
            head, *notes = self._path.read_text().split("\n")
            boot_id, worker, since_ms = head.split(" ")
            if not boot_id or boot_id != _boot_id():
                return None
            pairs = (note.partition(" ") for note in notes)
            noted = frozenset((id_, int(number)) for id_, _, number in pairs if number.isdecimal())
            return EarlierDepartures(worker=worker, since_ms=int(since_ms), noted=noted)
        except (OSError, ValueError):
            return None

    def begin(self) -> None:
        """Log departures in a new file from now on. If it cannot be created, the attempts that we leave behind are uncertain."""
        self.close()
        boot_id = _boot_id()
        if self._path is None or not boot_id:
            return
        anew = self._path.with_name(f"{self._path.name}-new")
        notes = "".join(f"{id_} {number}\n" for id_, number in sorted(self._left))
        with contextlib.suppress(OSError):
            anew.unlink(missing_ok=True)
            anew.touch(mode=0o600)  # ids of submissions are secrets
            anew.write_text(f"{boot_id} {self._worker} {self._clock()}\n{notes}")
            anew.replace(self._path)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._notes = len(self._left)

    def leaves(self, submission: Submission) -> bool:
        """Log that the request of an attempt leaves now. False if it could not be logged: then the request must not leave."""
        if self._notes >= MOST_NOTES:
            self.begin()
        if self._file is not None:
            try:
                os.write(self._file, f"{submission.id} {submission.attempts}\n".encode())
            except OSError:
                return False
            self._notes += 1
        self._left.add((submission.id, submission.attempts))
        return True

    def may_have_left(self, submission: Submission) -> bool:
        """True if the current attempt of a submission has left this process."""
        return (submission.id, submission.attempts) in self._left

    def has_ended(self, submission: Submission) -> None:
        """Remove an attempt whose end is in the database."""
        self._left.discard((submission.id, submission.attempts))

    def close(self) -> None:
        """Close the file; its content stays valid."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text().strip()
    return ""
