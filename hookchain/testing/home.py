"""The database of a test: a file in memory where the system has such a folder, copied from one that is migrated once."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from storage.migrate import migrate

_MEMORY = Path("/dev/shm")
"""A folder of Linux whose files are in memory, so that nothing waits for a disk."""


def new() -> Path:
    """A new folder with a migrated database, `hookchain.db`. Only its owner can read it."""
    folder = _folder()
    (folder / "hookchain.db").write_bytes(_migrated())
    return folder


def remove(folder: Path) -> None:
    """Delete the folder. What cannot be deleted is left to the system."""
    shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    in_memory = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="hookchain-test-", dir=_MEMORY if in_memory else None))


@cache
def _migrated() -> bytes:
    """The content of an empty database of this release. It takes most of a second, once in a process."""
    folder = _folder()
    try:
        file = folder / "hookchain.db"
        migrate(f"sqlite:///{file}")
        return file.read_bytes()
    finally:
        remove(folder)
