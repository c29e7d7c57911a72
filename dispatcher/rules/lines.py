"""Finds the lines of tables and keys in a TOML text: its parser gives no positions. Pure."""

from __future__ import annotations

import re


def line_of_table(text: str) -> int:
    """The line, from 1, at which `rules` stands with other brackets than [[rules]]; 0 if it is not found."""
    lines = text.removeprefix("\ufeff").splitlines()
    return next((at for at, line in enumerate(lines, 1) if re.match(r"\s*\[?\s*rules\b", line)), 0)


def line_of(text: str, index: int, key: str) -> int:
    """The line, from 1, of a key in the index-th [[rules]] table, or of the table's header; 0 if the table is not found.

    The TOML parser gives no positions, so this searches the source.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    headers = [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*rules\s*\]\]", line)]
    if index >= len(headers):
        return 0
    pattern = re.compile(rf"""\s*(\[\s*rules\s*\.\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number in range(headers[index] + 1, len(lines) + 1):
        if number in headers:
            break
        if key and pattern.match(lines[number - 1]):
            return number
    return headers[index]


def line_of_key(text: str, key: str) -> int:
    """The line, from 1, of a key at the top of a file, or of the table of that name; 0 if it is not found."""
    lines = text.removeprefix("\ufeff").splitlines()
    name = r"\s*\.\s*".join(rf"""["']?{re.escape(part)}["']?""" for part in key.split("."))
    patterns = (rf"\s*\[\s*{name}\s*\]", rf"\s*{name}\s*=", rf"\s*\[?\s*{name}\s*[.=\]]")
    found = (
        next((at for at, line in enumerate(lines, 1) if re.match(pattern, line)), 0) for pattern in patterns
    )
    at = next(filter(None, found), 0)
    return at or (line_of_key(text, key.rpartition(".")[0]) if "." in key else 0)


def line_in_table(text: str, table: str, key: str) -> int:
    """The line, from 1, of a key in the table of this name, also if the key is in quotes; else that of the table; 0 if it is not found."""
    head = line_of_key(text, table)
    if not key or not head:
        return head
    lines = text.removeprefix("\ufeff").splitlines()
    pattern = re.compile(rf"""\s*(?:{re.escape(table)}\s*\.\s*)?["']?{re.escape(key)}["']?\s*=""")
    for number in range(head, len(lines) + 1):
        if number > head and re.match(r"\s*\[", lines[number - 1]):
            break
        if pattern.match(lines[number - 1]):
            return number
    return head
