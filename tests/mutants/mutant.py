"""One promise, broken on purpose."""

from __future__ import annotations

import msgspec


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `old` stands exactly once in `file`; `tests` (files, or single tests) fail when it is `new`.

    `survives`: why no test can fail, where none can.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""


def rows(
    file: str, tests: tuple[str, ...], *changes: tuple[str, str, str] | tuple[str, str, str, str]
) -> list[Mutant]:
    """Changes of one file that the same tests notice: name, old, new, and why it survives."""
    return [
        Mutant(file=file, tests=tests, **dict(zip(("name", "old", "new", "survives"), change, strict=False)))
        for change in changes
    ]
