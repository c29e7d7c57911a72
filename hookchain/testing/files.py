"""Finds the files that a test names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class NoSuchFile(FileNotFoundError):
    """A file that a test names is in none of the places where it may be."""


def found(name: str | Path, places: Sequence[Path]) -> Path:
    """The file: in the first of these places that has it, unless its path is absolute. Raises `NoSuchFile`."""
    candidates = [Path(name)] if Path(name).is_absolute() else [place / name for place in places]
    for candidate in candidates:
        if candidate.exists():
            return candidate.absolute()
    raise NoSuchFile(
        f"{name}: the file does not exist; looked for {' and '.join(map(str, candidates))}. "
        "Write a path relative to the test's file or to pytest's root directory, or an absolute one"
    )
