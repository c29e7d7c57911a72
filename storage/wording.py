"""Texts looked for as people write them: a part, in capitals or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, false


def has_part(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Whether a column has `text` in it. With a NUL in it none has: SQLite takes it for the end of a pattern, and "%\\0" for
    all there is; PostgreSQL keeps none."""
    return false() if "\0" in text else column.icontains(text, autoescape=True)
