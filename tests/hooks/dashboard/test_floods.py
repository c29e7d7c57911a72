"""Pages and lists stay small, whatever a hook's holder has sent."""

from __future__ import annotations

from typing import Any

from storage import schema
from storage.events.quarantine import SHOWN_BYTES

FLOOD = b"[" + b"1," * 500_000 + b"1]"


async def test_sixty_quarantined_megabytes_are_shown_by_their_beginnings(site: Any) -> None:
    """As this release keeps them, and as an earlier one did: 60 MB took 40 s of a server that did nothing else."""
    for number in range(2):
        await site.http.post(site.hook, content=FLOOD + b" " * number)
    rows = [
        {"upstream": "main", "submission_id": "", "content_type": "", "reason": "no task"}
        | {"body": FLOOD, "received_at_ms": 1}
        for _ in range(58)
    ]
    await site.database.write("test", lambda connection: connection.execute(schema.quarantine.insert(), rows))
    page = await site.http.get("/operations")
    assert page.status_code == 200
    assert len(page.content) < 60 * 2 * SHOWN_BYTES + 100_000
    listed = (await site.http.get("/api/quarantine?limit=100")).json()["quarantine"]
    assert len(listed) == 60
    assert all(len(entry["body"]) == SHOWN_BYTES for entry in listed)
    assert listed[-1]["is_cut"]
    assert listed[-1]["size_bytes"] == len(FLOOD)
    one = (await site.http.get(f"/api/quarantine/{listed[0]['id']}")).json()  # of the earlier release
    assert len(one["body"]) < 100_000


async def test_a_large_callback_makes_no_large_page(site: Any) -> None:
    """Ten events of a megabyte each, and a reason for the failure as long."""
    for number in range(10):
        body = b'{"id":"7","status":"FAILURE","failReason":"%s","n":%d}' % (b"r" * 900_000, number)
        assert (await site.http.post(site.hook, content=body)).status_code == 200
    for path in ("/tasks/main/7", "/chains/of/main/7", "/"):
        page = await site.http.get(path, follow_redirects=True)
        assert page.status_code == 200, path
        assert len(page.content) < 500_000, path


async def test_a_status_and_an_action_are_words(site: Any) -> None:
    """As much as fits of each was kept with every event, and with the task."""
    word = "W" * 300_000
    callback = {"id": "7", "status": word, "action": word, "parentId": word}
    assert (await site.http.post(site.hook, json=callback)).status_code == 200
    (task,) = (await site.http.get("/api/tasks")).json()["tasks"]
    assert max(len(task[name] or "") for name in ("status", "action", "parent_id")) <= 255
    (event,) = (await site.http.get("/api/events")).json()["events"]
    assert (len(event["status"]), len(event["action"])) == (64, 64)
