"""Copies a SQLite database while others write to it: the copy is a consistent snapshot, complete or not made at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from storage.errors import NotDurable


class CannotBackUp(NotDurable):
    """No copy was made; existing files are unchanged."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """The copy that was written."""

    file: Path
    size_bytes: int
    revision: str


def back_up(database: Path, to: Path, *, overwrite: bool) -> Backup:
    """Copy the database into one file that only its owner can read, because it contains the secret of all hooks.

    Blocks the caller but no writer: SQLite's online backup reads one snapshot. The copy gets its final name only when it
    is completely on disk. Raises `CannotBackUp`.
    """
    if not database.is_file():
        raise CannotBackUp(f"the database {database} does not exist")
    if to.is_dir():
        raise CannotBackUp(f"{to} is a directory; name a file in it")
    if to.exists() and to.samefile(database):
        raise CannotBackUp(f"{to} is the database itself; name another file")
    if to.exists() and not overwrite:
        raise CannotBackUp(f"{to} exists; name another file, or add --overwrite")
    if not to.absolute().parent.is_dir():
        raise CannotBackUp(f"the directory {to.parent} does not exist; make it first")
    unfinished = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        revision = _copy(database, unfinished)
        _sync(unfinished)
        unfinished.replace(to)
        _sync(to.absolute().parent)
        return Backup(file=to, size_bytes=to.stat().st_size, revision=revision)
    except (OSError, sqlite3.Error) as error:
        raise CannotBackUp(f"{database} could not be copied to {to}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(database: Path, to: Path) -> str:
    """Copy all pages; returns the schema revision of the copy."""
    with (
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)) as source,
        closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)  # in one step, so in one read transaction: one snapshot
        target.execute("PRAGMA journal_mode = DELETE")  # keeps everything in this one file
        check = target.execute("PRAGMA quick_check(1)").fetchone()
        if check != ("ok",):
            raise CannotBackUp(f"the database {database} is damaged: {check[0]}")
        row = target.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open directories
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
