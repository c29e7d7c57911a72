"""The files that `include` names: which there are now, and what is in them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path

import msgspec

from dispatcher.rules.lines import line_of_key
from dispatcher.rules.sources import OF_RULES
from hookchain.settings.conversion import SettingsError
from hookchain.settings.file import display_path, parse, read
from hookchain.settings.lines import line_of

_MAGIC = frozenset("*?[")


class Included(msgspec.Struct, frozen=True, kw_only=True):
    """A file with rules, and its tables."""

    path: Path
    text: str
    tables: Mapping[str, object]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with `include` itself ("" for `file`), or with a file that it names."""

    problem: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    key: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All that `include` leads to."""

    files: list[Included]
    mistakes: list[Problem]
    warnings: list[Problem]


def paths_of(patterns: Sequence[str], file: Path) -> list[Path]:
    """The files that the patterns match now, each once, in the order of the patterns and then of the names; and those that they name.
    A pattern never matches `file`, in which it stands."""
    paths: dict[Path, None] = {}
    for pattern in patterns:
        if "**" not in pattern:
            paths |= dict.fromkeys(_matching(pattern, file))
    return list(paths)


def _matching(pattern: str, file: Path) -> list[Path]:
    if not _MAGIC & set(pattern):
        return [file.parent / pattern]
    found = sorted(glob(pattern, root_dir=file.parent))
    return [path for one in found if (path := file.parent / one).is_file() and not _is_same(path, file)]


def _is_same(path: Path, file: Path) -> bool:
    return path.resolve() == file.resolve()


def included(patterns: Sequence[str], file: Path, variables: Mapping[str, str] | None = None) -> Found:
    """Read the files that `include` in `file` names."""
    found = Found(files=[], mistakes=[], warnings=[])
    for pattern in patterns:
        if "**" in pattern:
            problem = f"{pattern!r} would search all folders below, each second"
            found.mistakes.append(
                Problem(problem=problem, remedy='Name the folders: ["rules/*.toml", "more/*.toml"].')
            )
        elif not _matching(pattern, file):
            found.warnings.append(
                Problem(problem=f"{pattern!r} matches no file", remedy="Correct it, or leave it out.")
            )
    for path in paths_of(patterns, file):
        if _is_same(path, file):
            found.mistakes.append(Problem(problem=f"{path.name} includes itself", remedy="Leave it out."))
        elif not path.is_file():
            problem = f"{display_path(path)} does not exist, or is not a file"
            found.mistakes.append(
                Problem(
                    problem=problem,
                    remedy="Correct the name, or write a pattern such as rules/*.toml, which may match no file.",
                )
            )
        else:
            _read_into(found, path, variables)
    return found


def _read_into(found: Found, path: Path, variables: Mapping[str, str] | None) -> None:
    text = ""
    try:
        text = read(path, required=True)
        tables = parse(text, path, variables)
    except SettingsError as error:
        found.mistakes.extend(
            Problem(
                problem=message.replace(str(path), "this file", 1),
                file=display_path(path),
                line=line_of(text, message),
            )
            for message in error.messages
        )
        return
    others = [key for key in tables if key not in OF_RULES]
    found.mistakes.extend(_not_here(key, path, text) for key in others)
    if not others:
        found.files.append(Included(path=path, text=text, tables=tables))


def _not_here(key: str, path: Path, text: str) -> Problem:
    """A key that an included file must not have: settings are in one place only."""
    problem, remedy = (
        "an included file has only [[rules]], [vars], [macros] and [blueprint]",
        "Move it to the main file.",
    )
    if key == "include":
        problem = "an included file cannot include others"
    elif meant := difflib.get_close_matches(key, OF_RULES, n=1, cutoff=0.5):
        remedy = f'Did you mean "{meant[0]}"?'
    return Problem(
        problem=problem, remedy=remedy, file=display_path(path), line=line_of_key(text, key), key=key
    )
