"""hookchain.toml as text and as tables; mistakes name the file."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from hookchain.conversion import SettingsError


def read(path: Path, *, required: bool) -> str:
    """The file's text; "" where it is not required and not there. Raises `SettingsError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise SettingsError(f"HOOKCHAIN_CONFIG names {path}, which does not exist") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Its tables, with each ${VAR} replaced by the variable. Raises `SettingsError`, also for one that is not set."""
    try:
        tables: dict[str, Any] = _expanded(tomllib.loads(text), path)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    return tables


def _expanded(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(inner, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, path) for inner in value]
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise SettingsError(f"{path}: ${{{found[1]}}} is used, but the variable is not set")
        return os.environ[found[1]]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def short(path: Path) -> str:
    """The file as people know it: relative to where they are, if it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
