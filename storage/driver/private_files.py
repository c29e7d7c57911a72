"""Makes a database's files readable by their owner only: they hold the secret of all hooks, keys in payloads, and prompts.

SQLite gives `-wal`, `-shm` and `-journal` the mode of the database file, so it is enough to create that file first
(https://www.sqlite.org/src/file/src/os_unix.c, `findCreateFileMode`). The modes of existing files are tightened at the start.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger("hookchain")

OWNER_ONLY = 0o600

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ADDED_TO_THE_NAME = (
    "",
    "-wal",
    "-shm",
    "-journal",
    "-departures",
    "-departures-new",
    "-generation",
    "-worker",
)


def create(database: Path) -> None:
    """Create the file, empty, if it does not exist. Errors are ignored here, and reported when the file is opened."""
    with contextlib.suppress(OSError):
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT, OWNER_ONLY))


def tighten(database: Path) -> None:
    """Remove the access of other users to a database's files, and log which; warn about files that another user owns."""
    if os.name == "nt":
        return  # Windows does not use these modes
    tightened, foreign = [], []
    for file in _files_of(database):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            if not stat.S_ISREG(status.st_mode) or not status.st_mode & _OTHERS:
                continue
            # Only as the owner: root, inspecting another user's database, must not lock out that user's group.
            if status.st_uid == os.geteuid():
                file.chmod(status.st_mode & ~_OTHERS & 0o777)
                tightened.append(str(file))
            else:
                foreign.append(str(file))
    if tightened:
        log.warning("database files could be read by other users; now only their owner can", files=tightened)
    if foreign:
        log.warning(
            "database files can be read by other users, and belong to another user than hookchain runs as",
            files=foreign,
            cure="as their owner, run: chmod go= FILE",
        )


def _files_of(database: Path) -> Iterator[Path]:
    """The database file and the files beside it; for a symbolic link also those at its target."""
    for base in dict.fromkeys((database.absolute(), database.resolve())):
        for added in _ADDED_TO_THE_NAME:
            yield base.with_name(base.name + added)
