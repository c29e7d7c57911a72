"""Formats times for the API, the pages and the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def when(at_ms: int) -> str: ...
@overload
def when(at_ms: int | None) -> str | None: ...
def when(at_ms: int | None) -> str | None:
    """Format epoch milliseconds as RFC 3339 in UTC; None stays None."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
