"""Read hookchain.toml as text and as tables. Errors name the file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hookchain.settings.conversion import SettingsError


class MissingVariables(SettingsError):
    """A file uses ${VAR}, and these variables are not set."""

    def __init__(self, path: Path, variables: Sequence[str]) -> None:
        super().__init__(*(f"{path} uses ${{{name}}}, but this variable is not set" for name in variables))
        self.variables = variables


def read(path: Path, *, required: bool) -> str:
    """The file's text; "" if it does not exist and is not required. Raises `SettingsError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise SettingsError(f"HOOKCHAIN_CONFIG names {path}, which does not exist") from None
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} cannot be read: {error}; save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def parse(text: str, path: Path, variables: Mapping[str, str] | None = None) -> dict[str, object]:
    """The tables, with each ${VAR} replaced by the variable: one of `variables`, or else of the process's environment.

    Raises `SettingsError`, `MissingVariables` for those that are not set.
    """
    variables = os.environ if variables is None else variables
    try:
        # Windows editors write a byte-order mark at the start.
        tables = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}{_remedy(str(error))}") from error
    except RecursionError as error:
        raise SettingsError(f"{path} is nested too deeply: it has too many brackets in each other") from error
    unset: dict[str, None] = {}
    expanded = {key: _expanded(value, variables, unset) for key, value in tables.items()}
    if unset:
        raise MissingVariables(path, list(unset))
    return expanded


_REMEDIES = {
    "Cannot overwrite a value": "each key may be written once in a table",
    "Cannot declare": "a table may be written once; above each rule write [[rules]], with two brackets",
    "Invalid value": 'write texts in straight quotes, key = "text", and true and false in small letters',
    "Expected ']]'": "a rule begins with [[rules]]",
    "Expected ']'": "a table begins with its [name]",
    "Invalid statement": 'a line is a comment, a [table], or key = "value"',
    "Illegal character '\\n'": "a text in quotes ends on the line where it begins",
    "Expected newline or end of document after a statement": "inside \"…\", write quotes as '…'",
    "Unescaped '\\'": "write \\\\ for a backslash, or put the text into '…'",
    "Expected '=' after a key": 'write key = "value"',
    "Unclosed array": "end the list with ]",
}
"""What to write instead, by the beginning of tomllib's messages."""


def _remedy(error: str) -> str:
    return next((f"; {remedy}" for begin, remedy in _REMEDIES.items() if error.startswith(begin)), "")


def _expanded(value: object, variables: Mapping[str, str], unset: dict[str, None]) -> object:
    """The value with each ${VAR} replaced. Notes the variables that are not set."""
    if isinstance(value, dict):
        return {key: _expanded(inner, variables, unset) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, variables, unset) for inner in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in variables:
            unset[match[1]] = None
        return variables.get(match[1], "")

    return re.sub(r"\$\{(\w+)\}", variable, value)


def display_path(path: Path) -> str:
    """The path for messages: relative to the working directory if the file is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
