"""What a real `hookchain serve` has loaded on SQLite, which decides how much memory it takes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.process

TOLD = "loaded: "
PLUGIN = f"""
import sys
from hookchain import task_succeeded

@task_succeeded.connect
async def tell(action, **_):
    print({TOLD!r} + " ".join(sys.modules), flush=True)
"""
SETTINGS = """
[upstreams.main]
url = "http://127.0.0.1:9"
verify = "trust"

[[rules]]
name = "answer-modal"
on = "submission.needs_modal"
modal = { prompt = "a cat", mask = "left-half" }
"""
GRID = {"id": "1", "action": "IMAGINE", "status": "SUCCESS", "progress": "100%"}

COSTLY = ("psycopg", "psycopg_binary", "PIL", "rich", "alembic")
"""Each takes 3 to 9 MB, and nothing that a callback does on SQLite needs it."""


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Iterator[str]]:
    """A server with an interpreter of its own; yields the lines that it prints."""
    (directory / "plugins").mkdir()
    (directory / "plugins" / "tell.py").write_text(PLUGIN)
    (directory / "hookchain.toml").write_text(SETTINGS)
    database = {"DATABASE_URL": f"sqlite:///{directory}/hookchain.db"}
    # The first start migrates the file, for which it loads Alembic.
    command = [sys.executable, "-m", "hookchain"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | database
    subprocess.run([*command, "migrate"], cwd=directory, env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, "serve", "--port", "0"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        with process.stdout as lines:
            yield lines
    finally:
        process.terminate()
        process.wait()


def first(lines: Iterator[str], pattern: str) -> str:
    """What the pattern's group matches in the next line in which it is found."""
    return next(found[1] for line in lines if (found := re.search(pattern, line)))


def test_a_server_on_sqlite_loads_what_it_uses(tmp_path: Path) -> None:
    """It has answered a callback and called a receiver: no PostgreSQL driver, no ORM, no Pillow, no rich in its memory."""
    with serving(tmp_path) as lines:
        hook = first(lines, r"notifyHook to register at main: (\S+)")
        assert httpx.post(hook, json=GRID, trust_env=False).status_code == 200
        loaded = set(first(lines, f"{TOLD}(.*)").split())
    assert {"storage.driver.sqlite", "dispatcher.rules.masks"} <= loaded
    assert loaded.isdisjoint(COSTLY), sorted(loaded.intersection(COSTLY))
