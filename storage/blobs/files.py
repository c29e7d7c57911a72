"""The folder of blobs: texts that are being received, and on SQLite the blobs themselves, one file each.

Each process receives into a folder of its own, with a lock on a file in it that the system releases when the process ends in any way.
Whoever opens the folder next deletes what dead processes left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from midjourney.blob_texts import Reference
from storage.workers.lock import WorkerLock

_INCOMING = "incoming-"


class Draft:
    """A text that is being received. Call `discard` when it is needed no more: it does nothing to one that was placed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, text: bytes) -> None:
        """Add to it."""
        left = memoryview(text)
        while left:
            left = left[self._file.write(left) :]
        self._digest.update(text)
        self._size += len(text)

    def end(self) -> str:
        """The name of the whole text."""
        return str(self.reference)

    @property
    def reference(self) -> Reference:
        """What refers to the text."""
        return Reference(self._digest.hexdigest(), self._size)

    def place(self, path: Path) -> None:
        """Make it a file of the folder that survives a loss of power. Nothing happens the second time."""
        if self._file.closed:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(path)
        _sync_folder(path.parent)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Its text, in pieces of this size."""
        self._file.seek(0)
        while piece := self._file.read(size):
            yield piece

    def discard(self) -> None:
        """Delete it."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class Folder:
    """The folder beside a SQLite file; for PostgreSQL (None) one for texts that are being received, among the temporary files."""

    def __init__(self, database: Path | None) -> None:
        if database is None:
            user = os.getuid() if hasattr(os, "getuid") else 0
            self.path = Path(tempfile.gettempdir()) / f"hookchain-{user}-blobs"
        else:
            self.path = database.with_name(f"{database.name}-blobs")
        self._own: Path | None = None
        self._lock: WorkerLock | None = None

    def draft(self) -> Draft:
        """A new text."""
        return Draft(self._incoming() / secrets.token_hex(8))

    def file(self, sha256: str) -> Path:
        """Where a blob is."""
        return self.path / sha256

    def remove(self, sha256: str) -> None:
        """Delete a blob, if it is there."""
        self.file(sha256).unlink(missing_ok=True)

    def older(self, before_s: float) -> list[str]:
        """The blobs whose files were written before this time (Unix time)."""
        if not self.path.exists():
            return []
        with os.scandir(self.path) as entries:
            return [one.name for one in entries if one.is_file() and one.stat().st_mtime < before_s]

    def clean(self) -> None:
        """Delete what dead processes were receiving."""
        for folder in self.path.glob(f"{_INCOMING}*"):
            if folder != self._own:
                lock = _lock_in(folder)
                with contextlib.suppress(FileNotFoundError):  # another process is cleaning too
                    if lock.acquire():
                        shutil.rmtree(folder, ignore_errors=True)
                lock.release()

    def close(self) -> None:
        """Delete what this process was receiving."""
        if self._own is not None and self._lock is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._lock.release()
            self._own = self._lock = None

    def _incoming(self) -> Path:
        """The folder of this process."""
        if self._own is None:
            self.path.mkdir(mode=0o700, exist_ok=True)
            status = self.path.lstat()
            if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
                raise PermissionError(f"{self.path} can be read by other users: delete it")
            # Under another name until it is locked, so that nobody takes it for the folder of a dead process.
            name = secrets.token_hex(8)
            made = self.path / f"new-{name}"
            made.mkdir(mode=0o700)
            lock = _lock_in(made)
            lock.acquire()
            own = self.path / f"{_INCOMING}{name}"
            made.rename(own)
            self._own, self._lock = own, lock
        return self._own


def _lock_in(folder: Path) -> WorkerLock:
    return WorkerLock(folder / "lock")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
