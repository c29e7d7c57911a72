"""Occurrences: the events of rules that run by the clock. One that is missed is an event too, without a signal, so that it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from storage.deliveries import delivery_queue
from storage.events import event_log
from storage.payloads import as_received
from storage.records import STRUCK
from storage.timetable import sql


def time_text(moment_ms: int) -> str:
    """A time as the `status` of an occurrence has it: to the minute, as "2026-11-30T08:00Z"."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def time_of(status: str) -> int:
    """The time of an occurrence's `status`, in epoch milliseconds."""
    return int(datetime.strptime(status, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC).timestamp() * 1000)


def strike(
    connection: Connection,
    *,
    rule: str,
    upstream: str,
    at_ms: int,
    receivers: Sequence[str],
    detail: str,
    now_ms: int,
) -> None:
    """Append the occurrence of a rule, with one delivery for each of its receivers."""
    event_id = sql.STRIKE.one(
        connection,
        upstream=upstream,
        signal=STRUCK,
        rule=rule,
        status=time_text(at_ms),
        detail=detail,
        payload=as_received(b""),
        now_ms=now_ms,
    )
    for receiver in receivers:
        delivery_queue.add(connection, event_id, receiver, now_ms)


def miss(connection: Connection, *, rule: str, upstream: str, at_ms: int, detail: str, now_ms: int) -> None:
    """Append the first of the times that a rule has missed."""
    fact = event_log.fact(
        upstream=upstream,
        signal=None,
        source="internal",
        action=rule,
        status=time_text(at_ms),
        detail=detail,
        now_ms=now_ms,
    )
    event_log.append(connection, fact)
