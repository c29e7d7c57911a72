"""Finds the line of the configuration that a message is about. The TOML parser keeps no positions, so this searches the source."""

from __future__ import annotations

import re

_POSITION = re.compile(r"\(at line (\d+),")
_VARIABLE = re.compile(r"uses (\$\{\w+\})")
_TABLE = re.compile(r"\[{1,2}([^\[\]]+)\]")
_KEY = re.compile(r"(?:unknown key '([^']+)'|: (\w+) is |[:,] (\w+)$|: (\w+):)")


def line_of(text: str, message: str) -> int:
    """The line, from 1; 0 if it is not found."""
    if position := _POSITION.search(message):
        return int(position[1])
    lines = text.removeprefix("\ufeff").splitlines()
    if "(at end of document)" in message:
        return len(lines)
    if variable := _VARIABLE.search(message):
        return next((number for number, line in enumerate(lines, 1) if variable[1] in line), 0)
    named, found = _TABLE.search(message), _KEY.search(message)
    return _line_of_key(lines, named[1] if named else "", next(filter(None, found.groups())) if found else "")


def _line_of_key(lines: list[str], table: str, key: str) -> int:
    """The line of a key in a table, or of the table's header if the key is not found."""
    header = 0 if not table else _first(lines, rf"\s*\[{{1,2}}\s*{re.escape(table)}\s*\]", 0)
    if table and not header:
        return 0
    end = _first(lines, r"\s*\[", header) or len(lines) + 1
    at_key = _first(lines[: end - 1], rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", header) if key else 0
    return at_key or (0 if table else _first(lines, rf"\s*\[{{1,2}}\s*{re.escape(key)}\s*[.\]]", 0)) or header


def _first(lines: list[str], pattern: str, after: int) -> int:
    """The first line after a line that matches, from 1; 0 if none does."""
    matching = (number for number, line in enumerate(lines, 1) if number > after and re.match(pattern, line))
    return next(matching, 0)
