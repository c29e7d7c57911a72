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

from hooks.auth import NotifyTokens
from hooks.ingest import Ingest
from hooks.intake import Intake
from midjourney.types import canonical_status
from storage import quarantine, queries, schema
from storage.engine import Database
from storage.quarantine import Match

CORPUS = Path(__file__).parent.parent / "corpus"
SAMPLES = json.loads((CORPUS / "index.json").read_text())["samples"]
NO_TASKS = {
    "b3n-list-by-condition.json",
    "newapi-doc-mj-self.json",
    "novicezk-v1.0-list.json",
    "trueai-test-task-list.json",
}


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
        assert (event["task_id"], event["status"]) == (sent["id"], canonical_status(sent["status"]))


async def test_answers_to_submits_are_no_callbacks(site: Any) -> None:
    """Whatever else of the corpus is posted is put into quarantine, whole."""
    others = [sample for sample in SAMPLES if sample["kind"] not in ("callback", "fetch", "list")]
    for sample in others:
        body = (CORPUS / sample["file"]).read_bytes()
        answer = await site.http.post(site.hook, content=body)
        assert answer.status_code in (400, 422), (sample["file"], answer.text)
        assert (await kept(site, schema.quarantine.c.body))[-1] == body


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
        answer = await http.post(f"/notify/{tokens.tokens[0][0].decode()}/%00", content=body)
    assert answer.status_code == (200 if body.startswith(b"{") else 400)
    found = await database.read(lambda c: queries.event_page(c, most=9))
    left = await database.read(lambda c: quarantine.page(c, Match(), most=9))
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
    before = len(await kept(site, schema.events.c.payload)) + len(await kept(site, schema.quarantine.c.body))
    assert (await site.http.post(site.hook, content=body)).status_code in (200, 400, 422)
    assert (
        len(await kept(site, schema.events.c.payload)) + len(await kept(site, schema.quarantine.c.body))
        == before + 1
    )


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


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
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
    st.dictionaries(FIELDS | st.text(), ANY_JSON, max_size=8),
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
    assert (await kept(site, column))[-1] == body
    if answer.status_code == 200:
        (event,) = (await site.http.get("/api/events?limit=1")).json()["events"]
        assert event["task_id"] == str(task_id).strip()
