"""What tests of pages have happen: a callback, a form of a page, a press."""

from __future__ import annotations

import json
from typing import Any

import httpx

from storage import schema
from storage.engine import Connection
from tests.hooks.conftest import Site

IN_PART = {"hx-request": "true"}
"""What htmx asks with."""

U1 = {"customId": "MJ::JOB::upsample::1::abc", "label": "U1"}


async def called(site: Site, task_id: str, **fields: Any) -> None:
    """A task that has succeeded called, or with fields of one's own."""
    body = {"id": task_id, "status": "SUCCESS", "action": "IMAGINE", "progress": "100%"} | fields
    assert (await site.http.post(site.hook, content=json.dumps(body))).status_code == 200


async def posted(site: Site, path: str, **fields: str) -> httpx.Response:
    """The answer to a form that htmx sends."""
    return await site.http.post(path, data=fields, headers=IN_PART)


async def submissions_of(site: Site) -> list[Any]:
    """All rows, oldest first."""
    query = schema.submissions.select().order_by(schema.submissions.c.created_at_ms)
    return list(await site.database.read(lambda connection: connection.execute(query).all()))


async def set_all(site: Site, only: str = "", **values: str) -> None:
    """Give all submissions other values, or only the one of an id."""

    def change(connection: Connection) -> None:
        rows = schema.submissions
        connection.execute(rows.update().where(rows.c.id == (only or rows.c.id)).values(**values))

    await site.database.write("test", change)


def delivery(event_id: int, *, error: str) -> dict[str, Any]:
    """One that waits; one that failed waits for its next attempt."""
    return {
        "event_id": event_id, "receiver": "rule:a", "lane": "", "state": "waiting", "attempts": int(bool(error)),
        "excused": 0, "run_at_ms": 2 if error else 1, "fired": False, "decision": "", "error": error,
        "created_at_ms": 1, "updated_at_ms": 1,
    }  # fmt: skip
