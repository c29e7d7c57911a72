"""The statements about the health of an upstream's callbacks."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.statements import Query
from storage.records import Payload

# Our newest finished tasks: through their submissions, which have an index by upstream and age; an index for tasks would be written
# at each callback.
_FINISHED = """
    (
        SELECT tasks.upstream, tasks.id, tasks.finished_at_ms
        FROM submissions JOIN tasks ON tasks.submission_id = submissions.id
        WHERE submissions.upstream = :upstream AND tasks.finished_at_ms IS NOT NULL
        ORDER BY submissions.created_at_ms DESC LIMIT :most
    ) AS finished
"""
_OF_FINISHED = (
    "events.upstream = finished.upstream AND events.task_id = finished.id AND events.source = 'callback'"
)
_ENDED_IT = "events.advanced /*sqlite = 1 */ AND events.received_at_ms = finished.finished_at_ms"


class Calls(NamedTuple):
    """The number of finished tasks, of those that called back, and of those whose end a callback reported."""

    finished: int
    called: int
    ended_by_callback: int


COUNT_CALLS = Query(
    f"""
    SELECT count(*),
      count(*) FILTER (WHERE EXISTS (SELECT 1 FROM events WHERE {_OF_FINISHED})),
      count(*) FILTER (WHERE EXISTS (SELECT 1 FROM events WHERE {_OF_FINISHED} AND {_ENDED_IT}))
    FROM {_FINISHED}
    """,
    Calls,
)


class Received(NamedTuple):
    """What a callback reported, and whether that was new."""

    task_id: str
    status: str
    progress: int | None
    advanced: bool


RECEIVED = Query(
    f"""
    SELECT events.task_id, events.status, events.progress, events.advanced
    FROM {_FINISHED} JOIN events ON {_OF_FINISHED}
    ORDER BY events.id
    """,
    Received,
)


class End(NamedTuple):
    """A callback that reported the end of its task."""

    payload: Payload
    received_at_ms: int


ENDS = Query(
    f"""
    SELECT events.payload, events.received_at_ms
    FROM {_FINISHED} JOIN events ON {_OF_FINISHED} AND {_ENDED_IT}
    """,
    End,
)

# Among the newest tasks by id, because ids grow with time at most vendors.
LAST_CALL = Query(
    """
    SELECT max((
        SELECT events.received_at_ms FROM events
        WHERE events.task_id = newest.id AND events.upstream = newest.upstream AND events.source = 'callback'
        ORDER BY events.id DESC LIMIT 1
    ))
    FROM (
        SELECT upstream, id FROM tasks WHERE upstream = :upstream ORDER BY id DESC LIMIT :most
    ) AS newest
    """,
    int,
)
