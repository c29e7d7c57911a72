"""What a commit waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.driver import sqlite
from storage.engine import Connection, Database
from tests.conftest import DURABLE, REPOSITORY

FULL = 2

AS_SHIPPED = """
import asyncio, sys
from storage.engine import Database

async def look():
    database = Database(sys.argv[1])
    await database.open()
    ask = lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar()
    print(await database.write("look", ask), await database.write_separately("look", ask))
    await database.close()

asyncio.run(look())
"""


def synchronous(connection: Connection) -> object:
    return connection.exec_driver_sql("PRAGMA synchronous").scalar()


async def test_a_commit_waits_for_the_disk(new_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what was answered outlasts a power cut. Other tests do without, for speed."""
    monkeypatch.setattr(sqlite, "SYNCHRONOUS", DURABLE)
    database = Database(f"sqlite:///{new_database}/hookchain.db")
    await database.open()
    try:
        assert await database.write("look", synchronous) == FULL
        assert await database.write_separately("look", synchronous) == FULL
    finally:
        await database.close()


@pytest.mark.process
def test_a_process_of_its_own_waits_for_the_disk_too(new_database: Path) -> None:
    """With nothing set by tests."""
    command = [sys.executable, "-c", AS_SHIPPED, f"sqlite:///{new_database}/hookchain.db"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(FULL), str(FULL)]
