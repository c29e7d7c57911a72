"""Refused callbacks are counted, warned of and shown, whoever sends them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, select
from structlog.testing import capture_logs

from hooks.hook_tokens import NotifyTokens, submission_token
from hooks.ingest import Ingest
from hooks.intake import Intake
from hooks.refusals import FIRST_PAUSE_S, LONGEST_PAUSE_S, Refusals
from storage import schema
from storage.engine import Database
from storage.events import refusals as stored
from storage.records.refusals import Refusal
from tests.hooks.conftest import site_of

LIMIT = 100_000
TASK = {"id": "17", "status": "SUCCESS"}


class Hook:
    """An endpoint over a database, with its refused callbacks."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.database, self.refusals = database, Refusals(database)
        tokens = NotifyTokens("s", ["main"])
        ingest = Ingest(database, tokens, body_limit_bytes=LIMIT, refusals=self.refusals, **options)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(ingest), base_url="http://h")
        self.path = f"/notify/{tokens.registered('main')}"

    async def refused(self) -> dict[tuple[str, str], Refusal]:
        """What is written down."""
        await self.refusals.flush()
        found = await self.database.read(lambda connection: stored.since(connection, 0))
        return {(one.upstream, one.why): one for one in found}

    async def asked(self) -> dict[str, int | None]:
        """When the upstream is to be asked about each task."""

        def ask(connection: Connection) -> dict[str, int | None]:
            rows = connection.execute(select(schema.tasks.c.id, schema.tasks.c.ask_at_ms))
            return {row.id: row.ask_at_ms for row in rows}

        return await self.database.read(ask)


@pytest.fixture
def hook(database: Database) -> Hook:
    return Hook(database)


async def test_each_reason_is_counted_and_told(hook: Hook) -> None:
    """A row for each, with how many, when last, and what about."""
    never = asyncio.Event()

    async def half() -> Any:
        yield b'{"id":'
        await never.wait()

    hurried = Hook(hook.database, body_within_s=0.05)
    full = Hook(hook.database, intake=Intake(most_bytes=10))
    for content in (b"<html>", b"[]"):
        await hook.http.post(hook.path, content=content)
    await hook.http.put(hook.path, json=TASK)
    await hook.http.get(hook.path)
    await hook.http.post(hook.path, content=b"x" * (LIMIT + 1))
    assert (await hurried.http.post(hook.path, content=half())).status_code == 408
    assert (await full.http.post(hook.path, json=TASK)).status_code == 503
    await hook.http.post("/notify/a-strangers-token-here", json=TASK)
    for other in (hurried, full):
        await other.refusals.flush()
    found = await hook.refused()
    assert {key: one.count for key, one in found.items()} == {
        ("main", "not_understood"): 2,
        ("main", "method"): 1,
        ("main", "too_large"): 1,
        ("main", "incomplete"): 1,
        ("main", "busy"): 1,
        ("", "unknown_hook"): 1,
    }
    assert "kept in quarantine as 2" in found["main", "not_understood"].detail
    assert f"this one has {LIMIT + 1}" in found["main", "too_large"].detail


async def test_a_stranger_makes_neither_the_table_nor_the_log_grow(hook: Hook) -> None:
    """A thousand random addresses: one row, one line, and no token in either."""
    with capture_logs() as lines:
        for number in range(1000):
            assert (await hook.http.post(f"/notify/random-token-{number:08}", json=TASK)).status_code == 404
            if number % 100 == 0:
                await hook.refusals.flush()
        found = await hook.refused()
    assert {key: one.count for key, one in found.items()} == {("", "unknown_hook"): 1000}
    assert [line["event"] for line in lines] == ["callbacks refused"]
    assert "hookchain url" in lines[0]["what_to_do"]
    assert "random-token" not in str(lines) + str(found)


async def test_the_log_speaks_ever_less_often_of_what_goes_on(hook: Hook) -> None:
    """At once, after a minute, after two more …, at most hourly; after an hour of silence at once again."""
    now_s, spoken = 1e6, []
    with capture_logs() as lines:
        for _ in range(10 * 3600):
            hook.refusals.note("main", "busy", "")
            before = len(lines)
            hook.refusals.warn(now_s)
            spoken += [now_s] * (len(lines) - before)
            now_s += 1
    pauses = [later - earlier for earlier, later in pairwise(spoken)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S
    assert sum(line["count"] for line in lines) == spoken[-1] - spoken[0] + 1


async def test_what_the_database_does_not_take_is_counted_later(tmp_path: Path, new_file: Path) -> None:
    """Together with what came since."""
    shutil.copy(new_file, tmp_path / "hookchain.db")
    database = Database(f"sqlite:///{tmp_path}/hookchain.db")
    await database.open()
    try:
        hook = Hook(database)
        with closing(sqlite3.connect(tmp_path / "hookchain.db")) as other:
            other.execute("ALTER TABLE refusals RENAME TO away")
            hook.refusals.note("main", "not_kept", "first")
            with pytest.raises(Exception, match="refusals"):
                await hook.refusals.flush()
            other.execute("ALTER TABLE away RENAME TO refusals")
        hook.refusals.note("main", "not_kept", "second")
        (one,) = (await hook.refused()).values()
        assert (one.count, one.detail) == (2, "second")
    finally:
        await database.close()


async def test_two_processes_add_up(database: Database) -> None:
    """The newest detail stays, whoever writes last."""
    new, old = (
        Refusal(upstream="main", why="busy", count=2, last_at_ms=at_ms, detail=str(at_ms)) for at_ms in (9, 5)
    )
    for one in (new, old):
        await database.write("refusals", partial(stored.add, counted=[one]))
    (found,) = await database.read(lambda connection: stored.since(connection, 0))
    assert (found.count, found.last_at_ms, found.detail) == (4, 9, "9")


@pytest.mark.parametrize("with_length", [True, False])
async def test_the_upstream_is_asked_about_a_task_whose_callback_is_too_large(
    hook: Hook, with_length: bool
) -> None:
    """Known or not, by the id in the body's beginning."""
    await hook.http.post(hook.path, json=TASK | {"id": "known"})
    for task_id in ("known", "new"):
        body = json.dumps({"prompt": "a cat", "id": task_id, "image": "x" * LIMIT}).encode()

        async def pieces(body: bytes = body) -> Any:
            for begin in range(0, len(body), 10_000):
                yield body[begin : begin + 10_000]

        answer = await hook.http.post(hook.path, content=body if with_length else pieces())
        assert answer.status_code == 413
    asked = await hook.asked()
    assert asked.keys() == {"known", "new"}
    assert all(at_ms is not None for at_ms in asked.values())


async def test_by_a_submissions_own_hook_its_own_tasks_are_asked_about(database: Database) -> None:
    """Whatever id stands in the body."""
    hook = Hook(database)
    for task_id in ("other", "ours"):
        await hook.http.post(hook.path, json=TASK | {"id": task_id, "status": "SUBMITTED"})

    def tie(connection: Connection) -> None:
        tasks = schema.tasks
        connection.execute(tasks.update().where(tasks.c.id == "ours").values(submission_id="a1"))

    await database.write("tie", tie)
    body = json.dumps({"id": "other", "image": "x" * LIMIT}).encode()
    path = f"/notify/{submission_token('s', 'main', 'a1')}/a1"
    assert (await hook.http.post(path, content=body)).status_code == 413
    asked = await hook.asked()
    assert asked["other"] is None
    assert asked["ours"] is not None


async def test_a_submissions_hook_does_not_speak_of_another_submissions_task(database: Database) -> None:
    """A forged end is kept, and changes nothing; by its own hook the same words do."""
    hook = Hook(database)
    await hook.http.post(hook.path, json={"id": "17", "status": "SUBMITTED"})

    def tie(connection: Connection) -> None:
        connection.execute(schema.tasks.update().values(submission_id="a1"))

    await database.write("tie", tie)

    async def status(submission_id: str) -> str:
        path = f"/notify/{submission_token('s', 'main', submission_id)}/{submission_id}"
        assert (await hook.http.post(path, json=TASK)).status_code == 200
        return await database.read(
            lambda connection: str(connection.execute(select(schema.tasks.c.status)).scalar())
        )

    assert await status("a2") == "SUBMITTED"
    assert await status("a1") == "SUCCESS"


async def test_api_and_set_up_show_them(tmp_path: Path) -> None:
    """With the cure; those whose address names no upstream too."""
    async with site_of(tmp_path) as site:
        await site.http.post(site.hook, content=b"<html>")
        await site.http.post("/notify/another-databases-token", json=TASK)
        for _ in range(200):  # it is written down within a second
            (main,) = (await site.http.get("/api/upstreams")).json()["upstreams"]
            if len(main["refused"]) == 2:
                break
            await asyncio.sleep(0.05)
        refused = {one["why"]: one for one in main["refused"]}
        assert refused["not_understood"]["upstream"] == "main"
        assert "hookchain url" in refused["unknown_hook"]["what_to_do"]
        page = (await site.http.get("/setup")).text
        assert "Callbacks arrived at a hook of another database or secret" in page
        assert "Callbacks could not be understood" in page
        assert "another-databases-token" not in page
