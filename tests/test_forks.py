"""Tests that run in forked processes are all run, once, and reported as what they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_S, REPOSITORY

pytestmark = pytest.mark.process

MANY = """
import os, pytest

@pytest.mark.parametrize("n", range(40))
def test_one(n, tmp_path):
    (tmp_path / "ran").write_text(str(os.getpid()))
"""
GROUPED = """
import pytest

@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("n", range(20))
def test_one(n, tmp_path):
    (tmp_path / "ran").write_text("")
"""
MIXED = """
import os, warnings, pytest

def test_that_passes():
    print("nothing of this is shown")

def test_that_fails():
    print("what it wrote")
    assert 1 == 2

def test_that_is_skipped():
    pytest.skip("why not")

@pytest.fixture
def broken():
    yield
    raise OSError("at the end")

def test_with_a_broken_fixture(broken):
    pass
"""
DEADLY = """
import os, pytest

@pytest.mark.parametrize("n", range(40))
def test_one(n):
    if n == 20:
        os.kill(os.getpid(), 9)
"""
SESSION = """
import os, pathlib, pytest

@pytest.fixture(scope="session")
def resource(request):
    left = pathlib.Path(os.environ["LEFT"], str(os.getpid()))
    left.write_text("")
    yield
    left.unlink()

@pytest.mark.parametrize("n", range(40))
def test_one(n, resource):
    assert n != 30
"""


def run(directory: Path, source: str, *options: str) -> tuple[int, str]:
    """The exit code of such tests in three processes, and what pytest prints."""
    (directory / "test_it.py").write_text(source)
    left = directory / "left"
    left.mkdir()
    quiet = ["-o", "asyncio_default_fixture_loop_scope=function"]
    arguments = ["-p", "tests.support.forks", "-p", "no:randomly", "--forks", "3", "-rfEs", *quiet, *options]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--basetemp", str(directory / "temporary"), *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(REPOSITORY), "LEFT": str(left)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_each_test_runs_once_in_several_processes(tmp_path: Path) -> None:
    """With a directory of its own."""
    code, output = run(tmp_path, MANY)
    assert (code, "40 passed" in output) == (0, True), output
    ran = sorted(tmp_path.glob("temporary/w*/*_0/ran"))
    assert len(ran) == 40
    assert len({file.read_text() for file in ran}) == 3


def test_a_group_runs_in_one_process(tmp_path: Path) -> None:
    code, output = run(tmp_path, GROUPED)
    assert (code, "20 passed" in output) == (0, True), output
    assert len({file.parents[1] for file in tmp_path.glob("temporary/w*/*_0/ran")}) == 1


def test_what_fails_is_told_as_ever(tmp_path: Path) -> None:
    """With what it wrote, and nothing of what others did."""
    code, output = run(tmp_path, MIXED)
    assert code == 1
    assert "1 failed, 2 passed, 1 skipped, 1 error" in output
    assert "assert 1 == 2" in output
    assert "what it wrote" in output
    assert "at the end" in output
    assert "why not" in output
    assert "nothing of this" not in output


def test_a_process_that_dies_fails_its_test_and_no_other(tmp_path: Path) -> None:
    code, output = run(tmp_path, DEADLY)
    assert code == 1
    assert "1 failed, 39 passed" in output
    assert "FAILED test_it.py::test_one[20]" in output
    assert "exit code -9" in output


@pytest.mark.parametrize("options", [(), ("-x",)], ids=["to the end", "to the first failure"])
def test_what_a_session_needs_is_given_back(tmp_path: Path, options: tuple[str, ...]) -> None:
    """In each process, whether its tests end or are ended."""
    code, output = run(tmp_path, SESSION, *options)
    assert code == 1, output
    assert "FAILED test_it.py::test_one[30]" in output
    assert not list((tmp_path / "left").iterdir())


def test_a_warning_is_shown(tmp_path: Path) -> None:
    source = "import warnings\n\ndef test_one():\n    warnings.warn('old', UserWarning)\n\ndef test_two():\n    pass\n"
    code, output = run(tmp_path, source)
    assert code == 0
    assert "2 passed, 1 warning" in output
    assert "UserWarning: old" in output


def test_what_is_found_at_the_end_is_an_error_of_the_last_test(tmp_path: Path) -> None:
    """A file that was never closed, and that only the garbage collector finds."""
    left = "\n\ndef test_last():\n    loop = [open(__file__)]\n    loop.append(loop)\n"
    code, output = run(tmp_path, left + "\n\ndef test_other():\n    pass\n", "-W", "error")
    assert code == 1
    assert "2 passed, 1 error" in output
    assert "unclosed file" in output


def test_an_error_that_no_test_has_raised_ends_the_run(tmp_path: Path) -> None:
    """As it does in one process."""
    source = MANY + "\n\ndef pytest_runtest_protocol(item):\n    raise LookupError('ours')\n"
    (tmp_path / "conftest.py").write_text(source.replace("test_one", "unused"))
    code, output = run(tmp_path, MANY)
    assert code == 3
    assert "LookupError: ours" in output
