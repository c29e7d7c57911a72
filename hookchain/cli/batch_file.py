"""Reads a table of prompts: CSV with a header, or JSON lines. Finds all mistakes of form at once, with their lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hookchain.settings.conversion import SettingsError

MOST_BYTES = 64 * 1024 * 1024
MOST_SHOWN = 20
"""Mistakes that are printed; a wrong file may have one in each line."""

STDIN = "-"
Values = dict[str, str | list[str]]
"""The values of a line by column. JSON lines may have lists."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file that is not empty, with the number at which it begins."""

    number: int
    values: Values


class Table(msgspec.Struct, kw_only=True):
    """A file's columns and lines, and what is wrong with it."""

    columns: list[str]
    lines: list[Line]
    mistakes: list[str]


def read_table(file: str) -> Table:
    """Read a file, or standard input if it is "-". Raises `SettingsError` if it cannot be read as text."""
    text = _text(file)
    is_json = file.endswith((".jsonl", ".ndjson")) if file != STDIN else text.lstrip().startswith("{")
    return _json_lines(text) if is_json else _csv(text)


def _text(file: str) -> str:
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{file} is larger than {MOST_BYTES // 1024**2} MB; split it")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SettingsError(f"{file} is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{file}:{line}: the text is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from error


def _csv(text: str) -> Table:
    table = Table(columns=[], lines=[], mistakes=[])
    for number, cells in _records(text, table.mistakes):
        if not any(cell.strip() for cell in cells):
            continue
        if not table.columns:
            table.columns = [cell.strip() for cell in cells]
            table.mistakes += _wrong_header(number, table.columns)
        elif len(cells) != len(table.columns):
            table.mistakes.append(
                f"line {number}: {len(cells)} values for {len(table.columns)} columns; put a value that contains a comma, "
                'a quote or a line end in "quotes"'
            )
        else:
            table.lines.append(Line(number=number, values=dict(zip(table.columns, cells, strict=True))))
    return table


def _records(text: str, mistakes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each record, with the line at which it begins."""
    csv.field_size_limit(MOST_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        begins_at = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            mistakes.append(f"line {begins_at}: {error}; the lines after it were not read")
            return
        yield begins_at, cells


def _wrong_header(number: int, columns: list[str]) -> list[str]:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        return [f"line {number}: the header has one column, {columns[0]!r}; separate columns with commas"]
    repeated = [name for name, times in Counter(columns).items() if times > 1]
    if "" in columns:
        return [f"line {number}: column {columns.index('') + 1} of the header has no name"]
    return [f"line {number}: the header has the column {name!r} more than once" for name in repeated]


def _json_lines(text: str) -> Table:
    table = Table(columns=[], lines=[], mistakes=[])
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = _object(line)
        except (ValueError, RecursionError) as error:
            table.mistakes.append(f'line {number}: {error}; write an object such as {{"prompt": "a cat"}}')
            continue
        columns |= dict.fromkeys(values)
        table.lines.append(Line(number=number, values=values))
    table.columns = list(columns)
    return table


def _object(line: str) -> Values:
    """The values of a JSON object. Numbers become texts; null is an empty text. Raises `ValueError`."""
    decoded = msgspec.json.decode(line, type=dict[str, str | int | float | list[str] | None])
    if len(decoded) < len(json.loads(line, object_pairs_hook=list)):
        raise ValueError("a key is there more than once")
    values: Values = {}
    for name, value in decoded.items():
        values[name] = value if isinstance(value, str | list) else "" if value is None else str(value)
    return values
