"""Case-insensitive search for a part of a text."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, false


def has_part(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """A condition: the column contains `text`, in upper or lower case. A text with a NUL never matches: for SQLite it ends the
    pattern, so that "%\\0" would match everything, and PostgreSQL cannot store it."""
    return false() if "\0" in text else column.icontains(text, autoescape=True)
