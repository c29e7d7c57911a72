"""The database takes nothing for a while: said clearly, nothing that was answered is lost, and it goes on by itself."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from storage.driver import sqlite
from storage.engine import Database
from storage.errors import NotDurable
from storage.migrate import migrate
from storage.schema import meta


def put(key: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(meta.insert(), {"key": key, "value": "x"})

    return work


def keys(connection: Connection) -> set[str]:
    return set(connection.execute(select(meta.c.key)).scalars())


@pytest.fixture
async def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """A database that waits 0.2 s for a lock."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 200)
    url = f"sqlite:///{tmp_path}/hookchain.db"
    migrate(url)
    database = Database(url)
    await database.open()
    await database.write("first", put("first"))
    yield database
    await database.close()


async def test_a_lock_that_stays_refuses_all_that_wait_at_once(impatient: Database, tmp_path: Path) -> None:
    """A hundred writes wait for one lock, not each in turn; when it is gone they are taken."""
    other = sqlite3.connect(tmp_path / "hookchain.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(10):  # one by one they would take 20 s
        waiting = [impatient.write("w", put(str(number))) for number in range(100)]
        refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in refused} == {NotDurable}
    assert {str(error) for error in refused} == {"the database refused: database is locked"}
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(*(impatient.write("w", put(str(number))) for number in range(100)))
    assert len(await impatient.read(keys)) == 101


async def test_a_database_that_may_only_be_read_is_tried_again(impatient: Database) -> None:
    """SQLite says "readonly"; the next write opens the file again, as it is by then."""
    await impatient.write("w", lambda connection: connection.execute(text("PRAGMA query_only = 1")))
    with pytest.raises(NotDurable, match="readonly database"):
        await impatient.write("w", put("second"))
    await impatient.write("w", put("third"))
    assert await impatient.read(keys) == {"first", "third"}


async def test_what_is_written_to_a_file_that_is_gone_is_not_called_kept(
    impatient: Database, tmp_path: Path
) -> None:
    """SQLite itself would write on and say nothing. Put back, the file is used again, with all that was answered."""
    files = [tmp_path / f"hookchain.db{suffix}" for suffix in ("", "-wal", "-shm")]
    away = tmp_path / "away"
    away.mkdir()
    for file in files:
        file.rename(away / file.name)
    for _ in range(2):
        with pytest.raises(NotDurable, match=r"moved or deleted|unable to open"):
            await impatient.write("w", put("second"))
    assert not (tmp_path / "hookchain.db").exists()
    for file in files:
        if (away / file.name).exists():
            (away / file.name).rename(file)
    await impatient.write("w", put("third"))
    assert await impatient.read(keys) == {"first", "third"}


async def test_whoever_asks_makes_no_new_file_in_the_place_of_one_that_is_gone(
    impatient: Database, tmp_path: Path
) -> None:
    """An empty one would be used from then on: "no such table", even when the right one is back."""
    assert await impatient.read(keys) == await impatient.look(keys) == {"first"}
    file, away = tmp_path / "hookchain.db", tmp_path / "away.db"
    file.rename(away)
    for ask in (impatient.read, impatient.look):
        with pytest.raises(NotDurable, match="unable to open"):
            await ask(keys)
    with pytest.raises(NotDurable, match=r"moved or deleted|unable to open"):
        await impatient.write("w", put("second"))
    assert not file.exists()
    away.rename(file)
    await impatient.write("w", put("third"))
    assert await impatient.read(keys) == await impatient.look(keys) == {"first", "third"}


async def test_a_file_without_tables_is_an_outage_until_the_right_one_is_back(
    impatient: Database, tmp_path: Path
) -> None:
    """Something else has made an empty file there, and somebody puts the database back."""
    away = tmp_path / "away"
    away.mkdir()
    files = [tmp_path / f"hookchain.db{suffix}" for suffix in ("", "-wal", "-shm")]
    for file in files:
        file.rename(away / file.name)
    (tmp_path / "hookchain.db").touch()
    for ask in (impatient.read, impatient.look):
        with pytest.raises(NotDurable, match="no such table"):
            await ask(keys)
    for _ in range(2):
        with pytest.raises(NotDurable, match=r"moved or deleted|no such table"):
            await impatient.write("w", put("second"))
    for file in files:
        file.unlink(missing_ok=True)
        if (away / file.name).exists():
            (away / file.name).rename(file)
    await impatient.write("w", put("third"))
    assert await impatient.read(keys) == await impatient.look(keys) == {"first", "third"}


async def test_a_restored_backup_is_what_is_written_and_read_from_then_on(
    impatient: Database, tmp_path: Path
) -> None:
    """Somebody copies an older file over the database of a running server."""
    await impatient.write("w", lambda connection: None)
    source, copy = sqlite3.connect(tmp_path / "hookchain.db"), sqlite3.connect(tmp_path / "backup.db")
    source.backup(copy)
    source.close()
    copy.close()
    await impatient.write("w", put("after the backup"))
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"hookchain.db{suffix}").unlink()
    shutil.move(tmp_path / "backup.db", tmp_path / "hookchain.db")
    with pytest.raises(NotDurable, match="moved or deleted"):
        await impatient.write("w", put("refused"))
    await impatient.write("w", put("new"))
    assert await impatient.read(keys) == {"first", "new"}
