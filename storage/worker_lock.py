"""One worker a SQLite file: a lock that the system releases when its process ends, however it ends.

Two workers on one file would each take what the other is doing for work that a dead process left behind.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import AlreadyWorked


class WorkerLock:
    """Held from `acquire` to `release`, by a file beside the database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-worker")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `AlreadyWorked` while another process has it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise AlreadyWorked(
                f"another hookchain works on {self._path.name.removesuffix('-worker')}; "
                "stop it first, or start this one with --no-worker"
            ) from error
        self._file = handle

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
