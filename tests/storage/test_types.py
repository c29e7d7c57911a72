"""Rows come out with the types that records say, whatever the database has: a bool is a bool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from storage.deliveries import delivery_queue
from storage.events import event_log, replay
from storage.reading import pages, recorded
from storage.submissions import submission_queue
from storage.tasks import chains, rows
from tests.support.many_rows import NOW_MS

pytestmark = pytest.mark.xdist_group("many_rows")


def claimed(connection: Connection) -> list[Any]:
    found = delivery_queue.claim(connection, 8, NOW_MS, room=lambda _name: 8, worker="me")
    return [
        part for one in found for part in (one, one.delivery, one.event, one.task, one.chain, one.submission)
    ]


def replayed(connection: Connection) -> list[Any]:
    return [*(replay.replay(connection, 2, force=False, now_ms=NOW_MS) or ())][:1]


def told_again(connection: Connection) -> list[Any]:
    one = next(recorded.recorded(connection, ["task.succeeded"], 0))
    return [one.delivery, one.event, one.task, one.chain, one.submission]


WAYS: dict[str, Callable[[Connection], Sequence[Any]]] = {
    "claimed": claimed,
    "begun": lambda c: submission_queue.begin_attempts(c, "main", 3, NOW_MS),
    "replayed": replayed,
    "recorded": told_again,
    "tasks": lambda c: [rows.find(c, "main", "t1005001"), *pages.task_page(c, most=3)],
    "events": lambda c: [*pages.event_page(c, most=3), pages.find_event(c, 1)],
    "pending": lambda c: event_log.pending(c, 3),
    "deliveries": lambda c: [*pages.delivery_page(c, most=3), pages.find_delivery(c, 1)],
    "submissions": lambda c: [submission_queue.find(c, "s1005001"), *pages.submission_page(c, most=3)],
    "chains": lambda c: [chains.find(c, "c101000"), *pages.chain_page(c, most=3)],
}


@pytest.mark.parametrize("way", WAYS)
def test_each_field_has_its_type(large: Connection, way: str) -> None:
    """By every way in which rows become records."""
    found = [one for one in WAYS[way](large) if one is not None]
    assert found
    for record in found:
        assert msgspec.convert(msgspec.structs.asdict(record), type(record)) == record
