"""The administrator's token in the database, and what has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import logins
from storage.engine import Database
from storage.errors import NotDurable
from tests.support import postgres


async def test_the_token_can_be_asked_at_an_address(database: Database) -> None:
    """By a command beside the server."""
    assert logins.token_at(database.url) is None
    made, _ = await database.write("make", logins.make_token)
    assert logins.token_at(database.url) == made
    replaced = await database.write("replace", logins.replace_token)
    assert logins.token_at(database.url) == replaced != made


def test_a_database_of_somebody_else_has_none(postgres_server: str, tmp_path: Path) -> None:
    """And gets nothing of ours."""
    with postgres.fresh_database(postgres_server) as url:
        assert logins.token_at(url) is None
        with postgres.connect(url) as connection:
            schemas = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'hookchain%'")
            assert schemas.fetchall() == []
    missing, empty = tmp_path / "missing.db", tmp_path / "empty.db"
    empty.touch()
    for file in (missing, empty):
        assert logins.token_at(f"sqlite:///{file}") is None
    assert [(one.name, one.stat().st_size) for one in tmp_path.iterdir()] == [("empty.db", 0)]


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    file = tmp_path / "hookchain.db"
    file.write_text("something else, and longer than a database's head " * 10)
    with pytest.raises(NotDurable, match="the token in the database cannot be read: file is not a database"):
        logins.token_at(f"sqlite:///{file}")


async def test_of_two_at_once_one_ends_a_link(database: Database) -> None:
    """And it is remembered until it would have ended by itself."""
    assert not await database.read(lambda c: logins.has_ended(c, "one"))
    await database.write("make", logins.make_token)
    ends = [("end", lambda c: logins.end(c, "one", 2000, 1000)) for _ in range(2)]
    assert await database.write_together(*ends) == [True, False]
    assert await database.read(lambda c: logins.has_ended(c, "one"))
    assert not await database.read(lambda c: logins.has_ended(c, "on%"))
    await database.write("end", lambda c: logins.end(c, "two", 9000, 3000))
    assert not await database.read(lambda c: logins.has_ended(c, "one"))
    assert await database.read(lambda c: logins.has_ended(c, "two"))
