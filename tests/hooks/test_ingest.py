"""The hook: what is kept, and what a sender is answered."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, select, text
from structlog.testing import capture_logs

from hooks.hook_tokens import NotifyTokens, submission_token
from hooks.ingest import Ingest
from hooks.intake import Intake
from midjourney.redact import SECRET_FIELDS
from midjourney.types import canonical_status
from storage import schema
from storage.engine import Database
from storage.events import quarantine
from storage.events.quarantine import QuarantineFilter
from storage.reading import pages
from tests.hooks.conftest import site_of

CORPUS = Path(__file__).parent.parent / "corpus"
SAMPLES = json.loads((CORPUS / "index.json").read_text())["samples"]
NO_TASKS = {"newapi-doc-mj-self.json", "trueai-test-task-list.json"}


async def kept(site: Any, column: Column[bytes]) -> list[bytes]:
    """All bytes in a column."""

    def ask(connection: Connection) -> list[bytes]:
        return list(connection.execute(select(column).order_by(column.table.c.id)).scalars())

    answer: list[bytes] = await site.database.read(ask)
    return answer


def another_hook(site: Any, **options: Any) -> Ingest:
    """A hook of its own beside the site's."""
    return Ingest(site.database, NotifyTokens("s", ["main"]), body_limit_bytes=1_000_000, **options)


async def test_every_recorded_payload_is_kept_byte_for_byte(site: Any) -> None:
    """All callbacks, fetches and lists of the corpus: as an event of the right task, or in quarantine; never a 5xx."""
    payloads = [sample for sample in SAMPLES if sample["kind"] in ("callback", "fetch", "list")]
    assert len(payloads) == 38
    for sample in payloads:
        body = (CORPUS / sample["file"]).read_bytes()
        answer = await site.http.post(site.hook, content=body)
        if sample["file"] in NO_TASKS:
            assert answer.status_code == 422, answer.text
            assert (await kept(site, schema.quarantine.c.body))[-1] == body
            continue
        assert answer.status_code == 200, (sample["file"], answer.text)
        assert (await kept(site, schema.events.c.payload))[-1] == body
        (event, *_) = (await site.http.get("/api/events")).json()["events"]
        sent = json.loads(body)
        (sent,) = sent if isinstance(sent, list) else [sent]
        assert (event["task_id"], event["status"]) == (sent["id"], canonical_status(sent["status"]))


async def test_answers_to_submits_are_no_callbacks(site: Any) -> None:
    """Whatever else of the corpus is posted is put into quarantine, whole."""
    others = [sample for sample in SAMPLES if sample["kind"] not in ("callback", "fetch", "list")]
    for sample in others:
        body = (CORPUS / sample["file"]).read_bytes()
        answer = await site.http.post(site.hook, content=body)
        assert answer.status_code in (400, 422), (sample["file"], answer.text)
        assert body in await kept(site, schema.quarantine.c.body)


async def test_a_task_is_kept_as_it_came_and_read_without_its_wrapper(site: Any) -> None:
    """Every wrapper of the shared cases: the event keeps the bytes, the API and the pages show the task."""
    for case in sorted((CORPUS.parent / "cases").glob("1*.json")):
        body = case.read_bytes()
        answer = await site.http.post(site.hook, content=body)
        assert answer.status_code == 200, (case.name, answer.text)
        assert (await kept(site, schema.events.c.payload))[-1] == body
        task = (await site.http.get("/api/tasks/main/1754700000000001")).json()
        assert [one["name"] for one in task["buttons"]] == ["U1", "U2", "U3", "U4"]
        (event, *_) = (await site.http.get("/api/events")).json()["events"]
        for payload in (task["payload"], event["payload"]):
            assert (payload["id"], payload["properties"]) == ("1754700000000001", {"finalPrompt": "a cat"})


async def test_two_tasks_in_a_callback_are_quarantined_with_the_reason(site: Any) -> None:
    """Nobody knows which one was meant."""
    one = {"id": "1", "status": "SUCCESS", "imageUrl": "https://x"}
    answer = await site.http.post(site.hook, json={"data": one, "task": one | {"id": "2"}})
    assert (answer.status_code, "more than one task inside" in answer.json()["detail"]) == (422, True)
    (entry,) = (await site.http.get("/api/quarantine")).json()["quarantine"]
    assert entry["reason"] == "more than one task inside; a callback must have one"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"status": "completed"}, "The status 'completed' is unknown"),
        ({"buttons": "secret"}, "cannot be pressed: a string of 6 characters"),
    ],
)
async def test_what_is_odd_about_an_end_is_warned_of_once(
    site: Any, changed: dict[str, Any], told: str
) -> None:
    """In the log once per task, and at every event, also one that changes nothing."""
    body = json.loads((CORPUS.parent / "cases" / "09_status_completed.json").read_bytes()) | {
        "status": "SUCCESS"
    }
    running = body | {"status": "IN_PROGRESS", "progress": "50%", "buttons": []}
    with capture_logs() as logs:
        for payload in (running, body | changed, body | changed):
            assert (await site.http.post(site.hook, json=payload)).status_code == 200
    (warning,) = [one for one in logs if one["event"] == "odd task"]
    assert (warning["log_level"], warning["upstream"], warning["task"]) == ("warning", "main", body["id"])
    assert told in warning["reason"]
    assert "secret" not in warning["reason"]
    events = (await site.http.get("/api/events")).json()["events"]
    assert [told in event["detail"] for event in events] == [True, True, False]


async def test_a_picture_with_an_unknown_status_is_not_pressed_by_hand_either(site: Any) -> None:
    """By a label or by a customId; the answer names the cure."""
    completed = json.loads((CORPUS.parent / "cases" / "09_status_completed.json").read_bytes())
    await site.http.post(site.hook, json=completed)
    button = completed["buttons"][0]["customId"]
    for named in ({"kind": "press", "button": "U*"}, {"kind": "action", "custom_id": button}):
        answer = await site.http.post("/api/submissions", json=named | {"task_id": completed["id"]})
        assert (answer.status_code, "`statuses`" in answer.json()["detail"]) == (422, True), answer.text
    assert (await site.http.get("/api/submissions")).json()["submissions"] == []


async def test_a_dialect_of_ones_own_names_a_status(tmp_path: Path) -> None:
    """In callbacks, and in what is read again from quarantine."""
    completed = json.loads((CORPUS.parent / "cases" / "09_status_completed.json").read_bytes())
    settings = {
        "HOOKCHAIN_UPSTREAM_DIALECT": "mine",
        "HOOKCHAIN_DIALECTS_MINE_STATUSES": "completed=SUCCESS",
    }
    async with site_of(tmp_path, **settings) as site:
        assert (await site.http.post(site.hook, json=completed)).status_code == 200
        await site.http.post(site.hook, content=b"{")
        mended = json.dumps(completed | {"id": "2"})
        answer = await site.http.post("/api/quarantine/1/retry", json={"body": mended})
        assert answer.status_code == 202, answer.text
        events = (await site.http.get("/api/events")).json()["events"]
        told = [(one["task_id"], one["status"], one["signal"], one["detail"]) for one in events]
        assert told == [
            ("2", "SUCCESS", "task.succeeded", ""),
            (completed["id"], "SUCCESS", "task.succeeded", ""),
        ]


async def test_half_a_character_is_kept_as_it_came(site: Any) -> None:
    """A prompt that its writer cut within an emoji: an event like any other, whole on the page and in the API."""
    body = json.dumps({"id": "7", "status": "SUCCESS", "progress": "100%", "prompt": "a cat \ud83d"}).encode()
    answer = await site.http.post(site.hook, content=body)
    assert answer.status_code == 200, answer.text
    assert await kept(site, schema.events.c.payload) == [body]
    assert (await site.http.get("/api/tasks/main/7")).json()["prompt"] == "a cat \ufffd"


@pytest.mark.parametrize(
    "path", ["/notify/", "/notify/wrong", "/notify/wrong/x", "/notify/é", "/notify/x/y/z"]
)
async def test_a_wrong_token_is_404(site: Any, path: str) -> None:
    """And nothing is kept."""
    answer = await site.http.post(path, content=b'{"id":"1","status":"SUCCESS"}')
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert await kept(site, schema.events.c.payload) == await kept(site, schema.quarantine.c.body) == []


@pytest.mark.parametrize(
    "path", ["/{hook}", "///{hook}", "{hook}/", "{hook}//", "{hook}%20", "{hook}%0D%0A", "{hook}?from=relay"]
)
async def test_what_a_hook_gains_on_its_way_changes_nothing(site: Any, path: str) -> None:
    """Doubled slashes of a proxy, a blank or line end that was registered with it, a query."""
    address = "http://localhost" + path.format(hook=site.hook)
    answer = await site.http.post(address, content=b'{"id":"1","status":"SUCCESS"}')
    assert answer.status_code == 200, answer.text


async def test_a_get_says_what_the_hook_is_for(site: Any) -> None:
    """People open the address in a browser."""
    answer = await site.http.get(site.hook)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"<html>", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"id":1.5,"status":"SUCCESS"}', 422),
    ],
)
async def test_what_is_no_task_is_refused_and_kept(site: Any, body: bytes, status: int) -> None:
    """A problem body that says why, and the raw bytes in quarantine."""
    answer = await site.http.post(site.hook, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    (entry,) = (await site.http.get("/api/quarantine")).json()["quarantine"]
    assert entry["id"] == problem["quarantine_id"]
    assert entry["content_type"] == "application/json"
    assert await kept(site, schema.quarantine.c.body) == [body]


@pytest.mark.parametrize("body", [b'{"id":"1","status":"SUCCESS","prompt":"a\\u0000b"}', b"none\0"])
async def test_a_body_with_a_nul_in_its_path_is_kept(database: Database, body: bytes) -> None:
    """By either database, as an event or in quarantine: PostgreSQL has no NUL in a text."""
    tokens = NotifyTokens("s", ["main"])
    hook = Ingest(database, tokens, body_limit_bytes=1_000_000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://h") as http:
        answer = await http.post(f"/notify/{submission_token('s', 'main', chr(0))}/%00", content=body)
    assert answer.status_code == (200 if body.startswith(b"{") else 400)
    found = await database.read(lambda c: pages.event_page(c, most=9))
    left = await database.read(lambda c: quarantine.page(c, QuarantineFilter(), most=9))
    assert [one.payload for one in found] + [one.body for one in left] == [body]


async def test_a_body_that_is_too_large_is_413(site: Any) -> None:
    """By its declared length, and by what really comes."""
    large = b"x" * (1024 * 1024 + 1)
    assert (await site.http.post(site.hook, content=large)).status_code == 413

    async def pieces() -> Any:
        for _ in range(17):
            yield b"x" * 65536

    assert (await site.http.post(site.hook, content=pieces())).status_code == 413
    assert await kept(site, schema.quarantine.c.body) == []


@pytest.mark.parametrize("declared", [b"\xb2", b"9" * 5000, b"-1", b""])
async def test_an_odd_length_is_no_server_error(site: Any, declared: bytes) -> None:
    """What really comes is counted."""
    answer = await site.http.post(
        site.hook, content=b'{"id":"1","status":"SUBMITTED"}', headers=[(b"content-length", declared)]
    )
    assert answer.status_code == 200


async def test_unknown_words_are_accepted_and_kept(site: Any) -> None:
    """Vendors add statuses and actions every month."""
    body = {"id": "1", "status": "DREAMING", "action": "LEVITATE", "progress": "3%", "new": {"a": [1]}}
    assert (await site.http.post(site.hook, json=body)).status_code == 200
    task = (await site.http.get("/api/tasks/main/1")).json()
    assert (task["status"], task["action"], task["payload"]) == ("DREAMING", "LEVITATE", body)


async def test_a_duplicate_is_answered_200_and_marked_stale(site: Any) -> None:
    """Kept as an event of its own, which changed nothing."""
    for _ in range(3):
        assert (await site.http.post(site.hook, json={"id": "1", "status": "SUCCESS"})).status_code == 200
    events = (await site.http.get("/api/events")).json()["events"]
    assert [event["stale"] for event in events] == [True, True, False]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=300)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(st.sampled_from(["id", "status", "action"]), st.text() | st.integers() | st.none()),
    )
)
async def test_no_body_whatever_is_a_server_error(site: Any, body: bytes) -> None:
    """Any bytes: kept as an event or in quarantine."""
    assert (await site.http.post(site.hook, content=body)).status_code in (200, 400, 422)
    assert body in await kept(site, schema.events.c.payload) + await kept(site, schema.quarantine.c.body)


async def test_a_callback_that_cannot_be_kept_is_503(site: Any) -> None:
    """The disk is full: the sender is told, with a time to come back."""

    def limit(connection: Any) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await site.database.write("limit", limit)
    answer = await site.http.post(site.hook, json={"id": "1", "status": "SUCCESS", "prompt": "x" * 100_000})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert schema.events.name == "events"


async def test_more_than_there_is_room_for_is_503(site: Any, tmp_path: Path) -> None:
    """Storage stands still: three callbacks wait for it, the fourth is told to come back; then all three are kept."""
    hook = another_hook(site, intake=Intake(most_requests=3, most_bytes=1_000_000))
    transport = httpx.ASGITransport(hook)
    other = sqlite3.connect(tmp_path / "hookchain.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        waiting = [
            asyncio.create_task(http.post(site.hook, json={"id": str(number), "status": "SUCCESS"}))
            for number in range(4)
        ]
        ((refused,), _) = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "5")
        other.execute("ROLLBACK")
        other.close()
        assert sorted([(await one).status_code for one in waiting]) == [200, 200, 200, 503]
    assert len(await kept(site, schema.events.c.payload)) == 3


async def test_bodies_that_are_larger_together_than_there_is_room_for_are_503(site: Any) -> None:
    """The bytes of one that was refused are free again."""
    hook = another_hook(site, intake=Intake(most_bytes=1000))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://localhost") as http:
        for size, status in ((2000, 503), (100, 200), (2000, 503), (900, 200)):
            body = json.dumps({"id": "1", "status": "SUCCESS", "prompt": "x" * size})
            assert (await http.post(site.hook, content=body)).status_code == status


async def test_a_body_that_does_not_come_is_408(site: Any) -> None:
    """A sender writes the half of it and hangs; nothing is kept, not even in quarantine."""
    hook = another_hook(site, body_within_s=0.05)
    never = asyncio.Event()

    async def half() -> Any:
        yield b'{"id":'
        await never.wait()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://localhost") as http:
        assert (await http.post(site.hook, content=half())).status_code == 408
    assert await kept(site, schema.quarantine.c.body) == []


NAMES = st.text().filter(lambda name: name.lower() not in SECRET_FIELDS)
"""Of fields. What is in a secret one is not kept: test_redact.py."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "status",
        "action",
        "progress",
        "prompt",
        "properties",
        "buttons",
        "imageUrl",
        "submitTime",
        "state",
        "parentId",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.text(min_size=1, max_size=40) | st.integers(),
    st.dictionaries(FIELDS | NAMES, ANY_JSON, max_size=8),
    st.sampled_from([None, 1]),
    st.booleans(),
)
async def test_any_object_with_an_id_survives_with_its_bytes(
    site: Any, task_id: Any, fields: dict[str, Any], indent: int | None, escaped: bool
) -> None:
    """Decoded, stored and read: the event's payload, or the quarantined body, is what came, byte for byte."""
    body = json.dumps(fields | {"id": task_id}, indent=indent, ensure_ascii=escaped).encode()
    answer = await site.http.post(site.hook, content=body)
    assert answer.status_code in (200, 422)
    column = schema.events.c.payload if answer.status_code == 200 else schema.quarantine.c.body
    assert body in await kept(site, column)  # once, however often it comes
    if answer.status_code == 200:
        (event,) = (await site.http.get("/api/events?limit=1")).json()["events"]
        assert event["task_id"] == str(task_id).strip()
