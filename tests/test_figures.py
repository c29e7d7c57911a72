"""`make figures` measures a checkout: what it counts is what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import figures
from tests.conftest import REPOSITORY

SOURCE = figures.Source(
    "storage/tasks/made_up.py",
    '''"""Made up."""

def outer(value):
    def inner():
        return 1
    if value:
        return inner
    return None
''',
)


def test_a_function_counts_its_own_lines_and_returns() -> None:
    """Six lines and two returns for the outer one; the inner one counts by itself."""
    found = {one.name: (one.lines, one.returns) for one in figures.functions_of(SOURCE)}
    assert found == {"outer": (6, 2), "inner": (2, 1)}


def test_rooms_that_import_each_other_are_found() -> None:
    """By modules and by folders; what only one of them imports is no cycle."""
    sources = [
        figures.Source(
            "storage/tasks/rows.py", "from storage.budgets import charges\nfrom storage import clock\n"
        ),
        figures.Source("storage/budgets/charges.py", "from storage.tasks.rows import find\n"),
        figures.Source("storage/clock.py", ""),
    ]
    assert figures.mutual_imports(sources) == [("storage.budgets", "storage.tasks")]


def test_all_files_but_migrations_are_measured() -> None:
    """Every package has its lines, and they add up."""
    sources = list(figures.read(REPOSITORY))
    assert {source.path.split("/")[0] for source in sources} == set(figures.PACKAGES)
    assert not [source for source in sources if "/versions/" in source.path]
    (total,) = [line for line in figures.sizes(sources) if line.startswith("all ")]
    assert int(total.split()[2]) == sum(source.lines for source in sources)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is missing there."""
    monkeypatch.setattr("sys.argv", ["figures", str(tmp_path)])
    with pytest.raises(
        SystemExit, match=r"is not a checkout of hookchain: hookchain/__init__\.py does not exist"
    ):
        figures.main()
