"""Retries dead deliveries for a person, or discards them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.duty import protocol, sql
from storage.duty.duties import DELIVERIES


def retry(connection: Connection, ids: Sequence[int], now_ms: int) -> int:
    """Requeue dead deliveries with all their attempts; returns their number."""
    return len(protocol.retry(connection, DELIVERIES, sql.RETRY_DELIVERIES, ids, now_ms))


def drop(connection: Connection, ids: Sequence[int], now_ms: int) -> int:
    """Discard dead deliveries; returns their number."""
    return protocol.drop(connection, DELIVERIES, ids, now_ms)
