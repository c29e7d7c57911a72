"""Each commit on SQLite is followed by one fsync of the journal before its callbacks are answered, as strace sees it.

The pragma that says so is tested in test_durability.py; this is what the kernel was asked. Linux with strace only, so it is a part of
`make soak`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.soak, pytest.mark.process]

COMMITS = 30

APPEND = """
import asyncio, os, sys
from midjourney.decode import decode_task
from storage.driver import sqlite
from storage.engine import Database
from storage.records import Incoming

async def append(database, number):
    task = decode_task(b'{"id":"%d","status":"SUBMITTED","progress":"0%%"}' % number)
    incoming = Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=1)
    await database.append(incoming)

async def main():
    url, synchronous, together, commits = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    sqlite.SYNCHRONOUS = synchronous
    database = Database(url)
    await database.open()
    os.write(2, b"begin")
    for number in range(commits):
        await asyncio.gather(*(append(database, 1000 * number + one) for one in range(together)))
        os.write(2, b"answered")
    os.write(2, b"end")
    await database.close()

asyncio.run(main())
"""


def syncs_before_each_answer(directory: Path, *, synchronous: str, together: int) -> list[int]:
    """How often the journal was synced before each answer: to one callback, or to all that were sent together."""
    strace = shutil.which("strace")
    assert strace is not None, "this test needs strace: apt install strace"
    log = directory / "calls"
    url = f"sqlite:///{directory}/hookchain.db"
    program = [sys.executable, "-c", APPEND, url, synchronous, str(together), str(COMMITS)]
    traced = [strace, "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-o", str(log), *program]
    subprocess.run(traced, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    syncs: list[int] = []
    since = 0
    for line in log.read_text().partition('"begin"')[2].partition('"end"')[0].splitlines():
        if '"answered"' in line:
            syncs.append(since)
            since = 0
        elif re.search(r"\b(fsync|fdatasync)\(\d+<[^>]*hookchain\.db-wal>", line):
            since += 1
    return syncs


@pytest.mark.parametrize("together", [1, 8])
def test_an_answer_comes_after_one_sync_of_the_journal(new_database: Path, together: int) -> None:
    """One, not none, and not one for each of those that share a commit; a batch may be two commits."""
    syncs = syncs_before_each_answer(new_database, synchronous="FULL", together=together)
    assert len(syncs) == COMMITS
    assert min(syncs) >= 1
    assert max(syncs) <= 2
    assert sum(syncs) <= 1.5 * COMMITS


def test_without_full_synchronisation_this_would_be_noticed(new_database: Path) -> None:
    """The control: with NORMAL, SQLite syncs the journal at checkpoints only."""
    syncs = syncs_before_each_answer(new_database, synchronous="NORMAL", together=1)
    assert 0 in syncs
