"""Read hookchain.toml as text and as tables. Errors name the file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from hookchain.settings.conversion import SettingsError


class MissingVariable(SettingsError):
    """A file uses ${VAR}, and the variable is not set."""

    def __init__(self, path: Path, variable: str) -> None:
        super().__init__(f"{path} uses ${{{variable}}}, but this variable is not set")
        self.variable = variable


def read(path: Path, *, required: bool) -> str:
    """The file's text; "" if it does not exist and is not required. Raises `SettingsError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise SettingsError(f"HOOKCHAIN_CONFIG names {path}, which does not exist") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def parse(text: str, path: Path, variables: Mapping[str, str] | None = None) -> dict[str, object]:
    """The tables, with each ${VAR} replaced by the variable: one of `variables`, or else of the process's environment.

    Raises `SettingsError`, also if the variable is not set.
    """
    variables = os.environ if variables is None else variables
    try:
        # Windows editors write a byte-order mark at the start.
        tables = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return {key: _expanded(value, path, variables) for key, value in tables.items()}


def _expanded(value: object, path: Path, variables: Mapping[str, str]) -> object:
    if isinstance(value, dict):
        return {key: _expanded(inner, path, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, path, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise MissingVariable(path, match[1])
        return variables[match[1]]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def display_path(path: Path) -> str:
    """The path for messages: relative to the working directory if the file is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
