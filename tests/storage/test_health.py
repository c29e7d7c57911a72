"""How callbacks come, judged by what was kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from midjourney.decode import decode_task
from storage.engine import Connection, Database
from storage.reading import health
from storage.records import Incoming
from storage.tasks import rows as tasks
from tests.support.staged import stage, wanted

END_MS = 1_700_000_000_000


async def call(
    database: Database, task_id: str, status: str, progress: str, *, after_ms: int, **more: Any
) -> None:
    body = {"id": task_id, "status": status, "progress": progress} | more
    await database.append(
        Incoming(
            upstream="main",
            task=decode_task(json.dumps(body).encode()),
            submission_id="",
            source=more.pop("source", "callback"),
            received_at_ms=END_MS + after_ms,
        )
    )


async def test_share_delay_duplicates_and_order_are_told(database: Database) -> None:
    """Three tasks of ours: two call, one of them twice over and out of order; the third is found by asking."""
    end = {"finishTime": END_MS}
    await call(database, "1", "IN_PROGRESS", "10%", after_ms=-50)
    await call(database, "1", "SUCCESS", "100%", after_ms=300, **end)
    await call(database, "1", "SUCCESS", "100%", after_ms=310, **end)
    await call(database, "1", "IN_PROGRESS", "50%", after_ms=320)
    await call(database, "2", "SUCCESS", "100%", after_ms=700, **end)
    await call(database, "3", "SUCCESS", "100%", after_ms=9000, source="reconcile", **end)

    def ours(connection: Connection) -> None:
        for task_id in ("1", "2", "3"):
            row = tasks.find(connection, "main", task_id)
            assert row is not None
            tasks.put(
                connection,
                msgspec.structs.replace(row, submission_id=stage(connection, wanted(task_id)).submission_id),
            )

    await database.write("test", ours)
    found = await database.read(lambda connection: health.callbacks(connection, "main"))
    assert msgspec.to_builtins(found) == {
        "calls_back": True,
        "tasks": 3,
        "called": 2,
        "ended_by_callback": 2,
        "callbacks": 5,
        "duplicates": 1,
        "out_of_order": 1,
        "delay_ms": {"median": 300, "p95": 700},
    }


async def test_when_a_callback_came_last_is_told(database: Database) -> None:
    """None before the first; what was asked for is no callback, and another upstream's is not ours."""
    await call(database, "1", "SUCCESS", "100%", after_ms=0, source="reconcile")
    assert await database.read(lambda connection: health.last_call_ms(connection, "main")) is None
    await call(database, "2", "IN_PROGRESS", "10%", after_ms=50)
    await call(database, "1", "SUCCESS", "100%", after_ms=70)
    assert await database.read(lambda connection: health.last_call_ms(connection, "main")) == END_MS + 70
    assert await database.read(lambda connection: health.last_call_ms(connection, "other")) is None
