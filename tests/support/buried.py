"""Dead letters for tests, made as they come to be: staged and sent, or fanned out and run, and at their end."""

from __future__ import annotations

from midjourney.requests import Imagine, Request
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.engine import Connection
from storage.events import event_log
from storage.records import SubmissionState
from storage.submissions import settlements, submission_queue
from storage.submissions.settlements import Settlement
from tests.support.staged import stage, wanted


def submission(
    connection: Connection,
    key: str,
    died_ms: int,
    *,
    request: Request | None = None,
    upstream: str = "main",
    reason: str = "HTTP 401",
    state: SubmissionState = "dead",
) -> str:
    """The id of a letter whose submission was sent once, and refused."""
    stage(connection, wanted(key, request or Imagine(prompt=f"a {key}"), upstream=upstream))
    (begun,) = submission_queue.begin_attempts(connection, upstream, 1, 2)
    ending = Settlement(state=state, outcome="rejected:auth", reason=reason)
    settlements.settle_attempt(connection, begun, ending, died_ms)
    return f"submission-{begun.id}"


def delivery(
    connection: Connection,
    receiver: str,
    died_ms: int,
    *,
    upstream: str = "main",
    task_id: str = "grid",
    error: str = "Traceback: it broke",
) -> str:
    """The id of a letter whose receiver gave up on an event of a task."""
    event_log.append(
        connection,
        event_log.fact(
            upstream=upstream,
            signal="task.succeeded",
            source="internal",
            task_id=task_id,
            now_ms=1,
        ),
    )
    delivery_queue.fan_out(connection, lambda _event: [receiver], 100, 1)
    (claimed,) = delivery_queue.claim(connection, 1, 2, room=lambda _name: 1)
    ending = Ended(state="dead", decision="failed 8 times", error=error)
    endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=died_ms)
    return f"delivery-{claimed.delivery.id}"
