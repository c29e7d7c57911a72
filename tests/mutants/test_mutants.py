"""Each promise is broken on purpose, in a copy of the repository, and the tests that specify it must notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS
from tests.support.repository import tracked

PASSED, FAILED = 0, 1
"""Exit codes of pytest. Others mean that the tests did not run, which shows nothing."""


def names(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_a_mutant_is_not_stale(mutant: Mutant) -> None:
    """Its text stands once in its file, and its tests are there. Else the row must follow its rule to where it is now."""
    found = (REPOSITORY / mutant.file).read_text().count(mutant.old)
    assert found == 1, (
        f"tests/mutants/table.py, {mutant.name!r}: its text stands {found} times in {mutant.file}"
    )
    assert mutant.new != mutant.old
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (REPOSITORY / file).read_text(), f"{mutant.name!r}: there is no {test}"


def test_each_mutant_has_a_name_of_its_own() -> None:
    """It is how a survivor is told."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


class Copy:
    """The repository as it is now, in a directory of its own."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self._directory = directory
        self._database_url = database_url
        for file in tracked():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, directory / file)

    @contextmanager
    def change(self, mutant: Mutant) -> Iterator[None]:
        """Have one change in it."""
        text = (self._directory / mutant.file).read_text()
        self._write(mutant.file, text.replace(mutant.old, mutant.new))
        yield
        self._write(mutant.file, text)

    def _write(self, name: str, text: str) -> None:
        file = self._directory / name
        file.write_text(text)
        # A compiled module is told from a newer text by its size and second, which may be the same.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    def test(self, *arguments: str) -> tuple[int, str]:
        """Run pytest in it: its exit code, and the end of what it printed."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n0",
            "--no-cov",
            "-p",
            "no:cacheprovider",
            *arguments,
        ]
        ended = subprocess.run(
            command,
            cwd=self._directory,
            env=os.environ | {"TEST_DATABASE_URL": self._database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout[-3000:]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, postgres_itself: str) -> Copy:
    """A copy in which all tests of the table pass."""
    made = Copy(tmp_path_factory.mktemp("mutants"), postgres_itself)
    code, told = made.test(*sorted({test for mutant in MUTANTS for test in mutant.tests}))
    assert code == PASSED, f"the tests fail without any mutant:\n{told}"
    return made


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_a_mutant_is_noticed(copy: Copy, mutant: Mutant) -> None:
    """By one of its tests. One that survives has its reason in the table."""
    with copy.change(mutant):
        code, told = copy.test("-x", *mutant.tests)
    assert code in (PASSED, FAILED), f"its tests do not run:\n{told}"
    if mutant.survives:
        assert code == PASSED, f"it is noticed now: take the reason out of the table ({mutant.survives})"
    else:
        assert code == FAILED, f"it survives: none of {', '.join(mutant.tests)} noticed"
