"""What `make test` leaves out, `make thorough` runs: no case is lost between the two, and none goes without SQLite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import PATIENCE_S, REPOSITORY

pytestmark = pytest.mark.process

FILES = (
    "tests/dispatcher/test_letters.py",
    "tests/dispatcher/test_crash_points.py",
    "tests/storage/test_hourly.py",
)
"""With products of cases and databases, with cases that SQLite has not, and of a directory that runs all on both."""


def collected(*marked: str) -> set[str]:
    """The tests in these files that an expression selects."""
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *marked, *FILES],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return {line for line in found.stdout.splitlines() if "::" in line}


def test_each_case_runs_on_sqlite_and_each_test_on_postgres() -> None:
    """Whatever the order: it is another one in each run."""
    every, by_itself, thorough = (
        collected("-m", "not soak"),
        collected(),
        collected("-m", "thorough and not soak"),
    )
    assert by_itself | thorough == every
    assert by_itself & thorough == set()
    further = {one for one in thorough if "test_crash_points" not in one}
    assert further
    assert not any("tests/storage" in one for one in further)
    assert {one.replace("postgres", "sqlite") for one in further} <= by_itself
    on_postgres = {one.partition("[")[0] for one in every if "postgres" in one}
    assert {one.partition("[")[0] for one in by_itself if "postgres" in one} == on_postgres
