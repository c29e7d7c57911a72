"""`hookchain backup`, and the steps of docs/backup.md."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MEASURING, PATIENCE_S
from tests.hostile.manners import Manners
from tests.hostile.upstream import hostile
from tests.support import forked
from tests.support.witness import UPSCALE_ALL, is_quiet, wait_for_an_honest_chain

PAGE = (Path(__file__).parent.parent.parent / "docs/backup.md").read_text()


def hookchain(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(list(arguments), cwd=cwd, environment=MEASURING | environment, timeout=PATIENCE_S)


@pytest.mark.process
def test_it_refuses_what_would_lose_something(new_database: Path) -> None:
    """A file that is there, a directory, the database itself, a place that is not there: exit code 1, and one line."""
    (new_database / "kept").write_text("mine")
    for target, told in (
        ("kept", "kept exists; name another file, or add --overwrite"),
        (".", ". is a directory; name a file in it"),
        ("hookchain.db", "hookchain.db is the database itself; name another file"),
        ("nowhere/copy.db", "the directory nowhere does not exist; make it first"),
    ):
        ended = hookchain(new_database, "backup", target)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert told in ended.stderr
    assert (new_database / "kept").read_text() == "mine"
    assert hookchain(new_database, "backup", "kept", "--overwrite").returncode == 0
    assert [file.name for file in new_database.glob(".*")] == []


@pytest.mark.process
def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    ended = hookchain(tmp_path, "backup", "copy.db")
    assert (ended.returncode, ended.stderr) == (1, "hookchain: the database hookchain.db does not exist\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_damaged_database_gives_no_copy(new_database: Path) -> None:
    file = new_database / "hookchain.db"
    pages = bytearray(file.read_bytes())
    pages[8192:20480] = b"\xff" * 12288
    file.write_bytes(pages)
    ended = hookchain(new_database, "backup", "copy.db")
    assert ended.returncode == 1
    assert not (new_database / "copy.db").exists()


@pytest.mark.process
def test_a_postgresql_has_its_own_tool(tmp_path: Path) -> None:
    """It is named, with our schema."""
    ended = hookchain(tmp_path, "backup", "copy.dump", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert ended.returncode == 2
    assert 'pg_dump --format=custom --schema=hookchain_data --file=copy.dump "$DATABASE_URL"' in ended.stderr


def test_it_is_whole_while_the_server_writes(start_server: Any, start_sandbox: Any, tmp_path: Path) -> None:
    """Callbacks come in while it is made. It can be read by its owner alone, and is one file."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    for number in range(20):
        server.submit(kind="imagine", prompt=f"cat {number}")
    ended = hookchain(tmp_path, "backup", "copy.db")
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"copy\.db: \d+ KiB, revision \d{4}\n", ended.stdout)
    copy = tmp_path / "copy.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM submissions").fetchone() == (20,)
    assert not (tmp_path / "copy.db-wal").exists()


def steps(title: str) -> str:
    """The first commands for SQLite below a title of the page."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.search(r"(?:^ {4,7}(?:\w.*)\n)+", section, re.MULTILINE)
    assert found is not None
    return "set -e\n" + re.sub(r"^ +", "", found[0], flags=re.MULTILINE)


def test_the_steps_of_the_page(start_server: Any, eventually: Any, tmp_path: Path) -> None:
    """Back up, go on, lose the database, restore as the page says: nothing is paid twice, and the page says how it looks."""
    (tmp_path / "backup").mkdir()
    with hostile(Manners(), secret="sk-1") as upstream:
        toml = f'[upstreams.main]\nurl = "{upstream.url}"\nkey = "sk-1"\nlook_after_s = 0.3\n{UPSCALE_ALL}'
        server = start_server(toml=toml)
        server.submit(kind="imagine", prompt="before")
        eventually(lambda: len(upstream.ledger.paid()) == 5)
        [command] = steps("Back up").splitlines()[1:]
        assert hookchain(tmp_path, *command.split()[1:]).returncode == 0
        server.submit(kind="imagine", prompt="after")
        eventually(lambda: len(upstream.ledger.paid()) == 10)
        eventually(lambda: is_quiet(server))
        server.kill()
        (tmp_path / "hookchain.db").write_bytes(b"lost")
        done = subprocess.run(["sh", "-c", steps("Restore")], cwd=tmp_path, check=False)
        assert done.returncode == 0
        again = start_server(toml=toml)
        eventually(lambda: not again.get("/api/upstreams")["upstreams"][0]["paused"])
        wait_for_an_honest_chain(again, upstream, eventually)
        assert upstream.ledger.pressed_twice() == []
        assert len(upstream.ledger.paid("imagine")) == 2
        prompts = {task["prompt"] for task in again.get("/api/tasks?limit=100")["tasks"]}
        assert {"before", "after"} <= prompts
