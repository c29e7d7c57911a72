"""The rows of a batch: what each submits, the key under which it is submitted once, and what is wrong with them. No requests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from dispatcher.rules.spelling import nearest
from hookchain.cli.batch_file import MOST_SHOWN, Line, Table
from hookchain.settings.conversion import SettingsError
from midjourney import wire
from midjourney.addresses import is_link
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.modes import check_mode
from midjourney.requests import BotType, Imagine

MARK_LENGTH = 25
"""hookchain's mark, and a space, come before a row's own state."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns are read, by what they hold; those in `ignored` are not."""

    prompt: str = "prompt"
    state: str = ""
    ignored: Sequence[str] = ()

    @property
    def known(self) -> list[str]:
        """The names of all columns that are read."""
        return [self.prompt, *([self.state] if self.state else []), "upstream", "bot_type", "mode", "images"]


class WrongRows(SettingsError):
    """A file has mistakes, each with its line. Nothing was submitted."""

    def __init__(self, file: str, mistakes: Sequence[str]) -> None:
        super().__init__(f"nothing was submitted; mistakes in {file}: {len(mistakes)}")
        self.lines = [f"{file}: {mistake}" for mistake in mistakes[:MOST_SHOWN]]
        if len(mistakes) > MOST_SHOWN:
            self.lines.append(f"… and {len(mistakes) - MOST_SHOWN} more")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One submission. `key` is its Idempotency-Key; `upstream` is "" if the server chooses."""

    line: int
    key: str
    prompt: str
    state: str
    upstream: str
    bot_type: str
    mode: str
    images: tuple[str, ...]


def rows_of(
    table: Table,
    columns: Columns,
    dialects: Mapping[str, Dialect],
    *,
    name: str,
    file: str,
    upstream: str,
    mode: str,
) -> list[Row]:
    """The rows of a file. `dialects` are those of the server's upstreams; `upstream` and `mode` are for rows that name none.

    Raises `WrongRows` with all mistakes.
    """
    mistakes = [*table.mistakes, *_wrong_columns(table, columns)]
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    if not mistakes:
        for line in table.lines:
            row = _row(line, columns, upstream, mode)
            content = _content(row)
            seen[content] += 1
            # Not the line: a row that is inserted above must not make a new row of each one below.
            key = f"batch/{_hash(name)}/{content}/{seen[content]}"
            rows.append(msgspec.structs.replace(row, key=key))
            mistakes += [f"line {row.line}: {mistake}" for mistake in _wrong(line, row, columns, dialects)]
        if not rows:
            mistakes.append("it has no rows")
    if mistakes:
        raise WrongRows(file, mistakes)
    return rows


def _wrong_columns(table: Table, columns: Columns) -> list[str]:
    if not table.columns:
        return [] if table.mistakes else ["it is empty"]
    wanted = [columns.prompt, *([columns.state] if columns.state else []), *columns.ignored]
    mistakes = [
        f"it has no column {name!r}.{nearest(name, table.columns)}"
        for name in wanted
        if name not in table.columns
    ]
    # An unknown column may be a slip (bottype), and then each row would be paid for without it.
    unknown = [name for name in table.columns if name not in columns.known and name not in columns.ignored]
    return mistakes + [
        f"unknown column {name!r}.{nearest(name, columns.known)} Use it with --state-column {name}, or leave it out with "
        f"--ignore {name}"
        for name in unknown
    ]


def _row(line: Line, columns: Columns, upstream: str, mode: str) -> Row:
    def text(name: str) -> str:
        value = line.values.get(name, "") if name else ""
        return value if isinstance(value, str) else ""

    images = line.values.get("images", "")
    return Row(
        line=line.number,
        key="",
        prompt=text(columns.prompt),
        state=text(columns.state).strip(),
        upstream=text("upstream").strip() or upstream,
        bot_type=text("bot_type").strip(),
        mode=text("mode").strip() or mode,
        images=tuple(images.split() if isinstance(images, str) else images),
    )


def _content(row: Row) -> str:
    """What makes two rows the same. Neither the upstream nor the mode: a row that was submitted before is not submitted again elsewhere, or
    faster."""
    return _hash(msgspec.json.encode([row.prompt, row.state, row.bot_type, row.images]).decode())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _wrong(line: Line, row: Row, columns: Columns, dialects: Mapping[str, Dialect]) -> list[str]:
    mistakes = [
        f"{name} must be a text, not a list"
        for name in columns.known
        if name != "images" and isinstance(line.values.get(name), list)
    ]
    if not row.prompt.strip():
        mistakes.append(f"{columns.prompt} is empty")
    if row.bot_type not in get_args(BotType):
        allowed = ", ".join(name for name in get_args(BotType) if name)
        mistakes.append(f"bot_type is {row.bot_type!r}; write {allowed}, or nothing")
    mistakes += [
        f"the image {image[:80]!r} is no URL, and there is no such file"
        for image in row.images
        if not is_link(image) and not Path(image).is_file()
    ]
    if row.upstream and row.upstream not in dialects:
        mistakes.append(f"unknown upstream {row.upstream!r}.{nearest(row.upstream, dialects)}")
    dialect = dialects.get(row.upstream or default_upstream(dialects))
    if dialect is None or mistakes:
        return mistakes
    try:
        wire.check(Imagine(prompt=row.prompt), dialect)
        check_mode(row.mode, dialect)
    except InvalidRequest as error:
        mistakes.append(str(error))
    if dialect.longest_state is not None and MARK_LENGTH + len(row.state) > dialect.longest_state:
        mistakes.append(
            f"{columns.state} has {len(row.state)} characters; {dialect.name} takes {dialect.longest_state - MARK_LENGTH}"
        )
    return mistakes


def default_upstream(names: Mapping[str, object]) -> str:
    """The upstream that the server chooses for a prompt."""
    return "main" if "main" in names else next(iter(names), "")
