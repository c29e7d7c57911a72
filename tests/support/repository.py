"""The files that git tracks: what a clone has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def tracked() -> list[Path]:
    """Relative to the repository, sorted; skips the test in an unpacked sdist, where nothing is tracked."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    files = (Path(name) for name in listed.split("\0") if name)
    return sorted(file for file in files if (REPOSITORY / file).is_file())
