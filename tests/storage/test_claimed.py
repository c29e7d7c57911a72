"""What claimed deliveries bring along for their receivers."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Connection

from midjourney.decode import decode_task
from storage.deliveries import delivery_queue
from storage.engine import Database
from storage.records import ClaimedDelivery, Incoming
from tests.support.plans import recorded

RECEIVERS = ["rule:a", "rule:b", "plugin:c"]


def callback(task_id: str) -> Incoming:
    task = decode_task(json.dumps({"id": task_id, "status": "SUCCESS", "action": "IMAGINE"}).encode())
    return Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=1)


@pytest.mark.parametrize("count", [1, 2])
async def test_an_events_context_is_read_once_for_all_its_receivers(database: Database, count: int) -> None:
    """Each delivery has its own event with that event's task and payload, by as many statements as for one receiver."""
    for number in range(count):
        await database.append(callback(f"t{number}"))

    def claim(connection: Connection) -> tuple[list[ClaimedDelivery], int]:
        delivery_queue.fan_out(connection, lambda _event: RECEIVERS, 10, 1)
        with recorded(connection) as plans:
            claimed = delivery_queue.claim(connection, 64, 1, room=lambda _name: 16)
        return claimed, len(plans)

    claimed, statements = await database.write("claim", claim)
    assert sorted((one.event.task_id, one.delivery.receiver) for one in claimed) == sorted(
        (f"t{number}", receiver) for number in range(count) for receiver in RECEIVERS
    )
    for one in claimed:
        assert one.delivery.event_id == one.event.id
        assert one.task is not None
        assert one.task.id == one.event.task_id
        assert json.loads(one.latest)["id"] == one.event.task_id
    assert statements == 3 + count  # what is due, the claim, the contexts, and a payload for each event
