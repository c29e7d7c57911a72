"""Allows one worker for each SQLite file, by a lock that the system releases when the process ends in any way.

The process with the lock knows that all earlier workers are gone. If a deployment starts the new process before it stops the old
one (as Dokku does, for 60 s), the new one receives callbacks at once, and works when the old one has ended.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # its stub is empty elsewhere
else:

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WorkerLock:
    """A lock on a file beside the database, held from `acquire` to `release`."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-worker")
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock, or keep it; False while another process has it."""
        if self._file is not None:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(handle)
        except (BlockingIOError, PermissionError):  # PermissionError on Windows
            os.close(handle)
            return False
        self._file = handle
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
