"""Nobody but their owner reads a database's files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from storage.driver import private_files
from storage.engine import Database
from storage.migrate import migrate
from storage.settings import touch
from storage.submissions.departures import Departures
from storage.submissions.request_count import GenerationFile, new


@pytest.fixture(autouse=True)
def open_umask() -> object:
    """The usual one, by which other users may read what a program makes."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    """The mode of each file there."""
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in directory.iterdir()}


async def write_all(file: Path) -> Database:
    """A database with everything that a worker puts beside it; still open."""
    migrate(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    await database.open()
    await database.write("ready", touch)
    assert database.worker_lock is not None
    database.worker_lock.acquire()
    Departures(file, "w", lambda: 1).begin()
    GenerationFile(file).write(new())
    return database


async def test_a_new_database_is_its_owner_s_alone(tmp_path: Path) -> None:
    """The file, its journal and the files beside it."""
    database = await write_all(tmp_path / "hookchain.db")
    found = modes(tmp_path)
    await database.close()
    assert {"hookchain.db", "hookchain.db-wal", "hookchain.db-shm"} <= found.keys()
    assert set(found.values()) == {"0o600"}, found


async def test_what_an_earlier_release_made_is_tightened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while another process has it open, behind a symbolic link, and with a journal beside it; the log names the files."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").mkdir()
    database = await write_all(tmp_path / "data/real.db")
    for file in (tmp_path / "data").iterdir():
        file.chmod(0o644)
    link = tmp_path / "link/hookchain.db"
    link.symlink_to(tmp_path / "data/real.db")
    migrate(f"sqlite:///{link}")
    await database.write("ready", touch)
    found = modes(tmp_path / "data")
    await database.close()
    assert set(found.values()) == {"0o600"}, found
    told = capsys.readouterr().out
    assert "could be read by other users" in told
    assert "real.db-wal" in told


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_another_user_s_files_are_left_and_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root looks at the database of a service: the service's own group must not be shut out by that."""
    file = tmp_path / "hookchain.db"
    migrate(f"sqlite:///{file}")
    file.chmod(0o640)
    os.chown(file, 4321, 4321)
    private_files.tighten(file)
    assert modes(tmp_path)["hookchain.db"] == "0o640"
    assert "chmod go= FILE" in capsys.readouterr().out
