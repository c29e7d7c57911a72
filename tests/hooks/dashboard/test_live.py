"""Open pages are told what changed, whoever wrote it; they lose nothing when they come back, and hold up nobody."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hooks import stream as streams
from hooks.dashboard.gallery import GalleryTopic
from hooks.stream import Stream
from hooks.topics import Changes, Marks, Piece
from midjourney.decode import decode_task
from storage.engine import Connection, Database
from storage.reading.cards import CardFilter
from storage.records import Incoming
from storage.tasks import polling
from storage.tasks import rows as tasks
from tests.conftest import PATIENCE_S


class Page:
    """A page that reads its stream."""

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        self.text = ""
        self.ended = asyncio.Event()
        self._news = asyncio.Event()
        self._messages = messages

    async def read(self) -> None:
        async for message in self._messages:
            self.text += message.decode()
            self._news.set()
        self.ended.set()

    async def until(self, words: str) -> None:
        """Read until they have come."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.text:
                self._news.clear()
                await self._news.wait()

    @property
    def last_id(self) -> int:
        """What the browser would send as Last-Event-ID."""
        return int(re.findall(r"^id: (\d+)$", self.text, re.MULTILINE)[-1])


@asynccontextmanager
async def page_of(
    stream: Stream, *, since_ms: int = 0, language: str = "en", wanted: CardFilter | None = None
) -> AsyncIterator[Page]:
    page = Page(stream.messages(topic(wanted), language, since_ms))
    reading = asyncio.create_task(page.read())
    try:
        await page.until("retry:")
        yield page
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def topic(wanted: CardFilter | None = None) -> GalleryTopic:
    return GalleryTopic(wanted or CardFilter(), 64, lambda place: f"/?before={place[0]}")


async def call(database: Database, task_id: str, prompt: str, **fields: object) -> None:
    body = {"id": task_id, "status": "IN_PROGRESS", "prompt": prompt} | fields
    task = decode_task(json.dumps(body).encode())
    await database.append(
        Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=now_ms())
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_a_page_is_told_of_what_another_process_wrote(database: Database, database_url: str) -> None:
    """Of a new card, and of what becomes of it; in the page's language."""
    other = Database(database_url)
    await other.open()
    async with page_of(Stream(database)) as page, page_of(Stream(database), language="zh") as chinese:
        await call(other, "1", "a lighthouse")
        await page.until("a lighthouse")
        assert 'hx-target="#gallery:not(:has(' in page.text
        await call(other, "1", "a lighthouse", status="SUCCESS")
        await page.until(">done<")
        await chinese.until(">完成<")
    await other.close()


async def test_what_is_written_while_a_page_is_loaded_is_not_missed(database: Database) -> None:
    before_ms = now_ms()
    await call(database, "1", "a lighthouse")
    async with page_of(Stream(database), since_ms=before_ms) as page:
        await page.until("a lighthouse")


async def test_a_page_that_comes_back_is_told_what_changed_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not what it knows."""
    monkeypatch.setattr(streams, "SKEW_MS", 0)
    await call(database, "1", "an old card")
    async with page_of(Stream(database)) as page:
        await page.until("an old card")
        known = page.last_id
    await asyncio.to_thread(_until_after, known)
    await call(database, "2", "a new card")
    async with page_of(Stream(database), since_ms=known) as page:
        await page.until("a new card")
        assert "an old card" not in page.text


def _until_after(at_ms: int) -> None:
    while now_ms() <= at_ms:
        pass


async def test_no_text_can_end_a_message_or_begin_another(database: Database) -> None:
    """Ends of lines of all kinds are in prompts."""
    async with page_of(Stream(database)) as page:
        await call(database, "1", "one\r\nevent: evil\rdata: x\n\nid: 5\u2028two\x85three")
        await page.until("three")
        for line in page.text.split("\n"):
            assert re.match(r"(id: \d+|data: .*|retry: 1000|: still here|)$", line, re.DOTALL), line
        assert "\r" not in page.text


async def test_streams_end_when_the_server_stops(database: Database) -> None:
    stream = Stream(database)
    async with page_of(stream) as one, page_of(stream) as two:
        assert stream.pages == 2
        stream.stop()
        async with asyncio.timeout(PATIENCE_S):
            await one.ended.wait()
            await two.ended.wait()
        assert stream.is_full, "and no new ones are taken"
    assert stream.pages == 0


async def test_who_reads_too_slowly_is_cut_off_and_nobody_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back and is told what is true then: nothing piles up for it."""
    monkeypatch.setattr(streams, "MOST_WAITING", 3)
    monkeypatch.setattr(streams, "LEAST_GAP_S", 0.01)
    stream = Stream(database)
    slow = stream.messages(topic(), "en", now_ms())
    assert await anext(slow) == b"retry: 1000\n\n"
    first = asyncio.ensure_future(anext(slow))
    async with page_of(stream) as page:
        for n in range(8):
            await call(database, str(n), f"card {n}")
            await page.until(f"card {n}")
    received = await first
    async with asyncio.timeout(PATIENCE_S):
        received += b"".join([message async for message in slow])
    assert received.count(b"id: ") <= 4


class Breaking:
    """A topic that begins to have a mistake."""

    key = "breaking"
    is_broken = False

    def changes(self, connection: Connection, known: Marks) -> Changes:
        if self.is_broken:
            raise LookupError("a mistake")
        return Changes(marks={}, changed=[Piece(render=lambda _: "it is well", changed_at_ms=now_ms())])


async def test_a_topic_with_a_mistake_ends_its_own_pages_alone(database: Database) -> None:
    stream, topic = Stream(database), Breaking()
    breaking = Page(stream.messages(topic, "en", 0))
    reading = asyncio.create_task(breaking.read())
    async with page_of(stream) as page:
        await breaking.until("it is well")
        topic.is_broken = True
        async with asyncio.timeout(PATIENCE_S):
            await breaking.ended.wait()
        await call(database, "1", "a lighthouse")
        await page.until("a lighthouse")
    await reading


async def test_a_card_stands_where_its_age_puts_it(database: Database) -> None:
    """Behind the one before it; a page that has neither is not told of a place."""
    for n in range(3):
        await call(database, str(n), f"card {n}")
        await asyncio.to_thread(_until_after, now_ms())
    async with page_of(Stream(database)) as page:
        await page.until("card 0")
        newest, middle, oldest = re.findall(r'id="card-(\w+)"', page.text)[::2]
        assert f'hx-target="#gallery:not(:has(#card-{newest}))" hx-swap="afterbegin"' in page.text
        for card, before in ((middle, newest), (oldest, middle)):
            place = f"#gallery:not(:has(#card-{card})) > #card-{before}"
            assert f'hx-target="{place}" hx-swap="afterend"' in page.text


FAILED = CardFilter(status="failed")


async def test_a_card_that_is_no_longer_wanted_goes(database: Database) -> None:
    """Whatever the id of its task: its name on the page is of hexadecimal digits."""
    running = CardFilter(status="active")
    async with page_of(Stream(database), wanted=running) as page:
        await call(database, 'a|b"><x>', "a lighthouse")
        await page.until("a lighthouse")
        (key, *_) = re.findall(r'id="card-([0-9a-f]+)"', page.text)
        await call(database, 'a|b"><x>', "a lighthouse", status="SUCCESS")
        await page.until(f'hx-target="#card-{key}" hx-swap="delete"')


async def test_a_task_that_its_upstream_no_longer_knows_has_failed(database: Database) -> None:
    """No callback tells that: pages hear of it all the same."""
    await call(database, "1", "a lighthouse")
    async with page_of(Stream(database), wanted=FAILED) as failed, page_of(Stream(database)) as page:
        await page.until("a lighthouse")
        assert "a lighthouse" not in failed.text

        def lose(connection: Connection) -> bool:
            row = tasks.find(connection, "main", "1")
            assert row is not None
            return polling.record_miss(connection, row, lost_after=1, lost_after_ms=0, now_ms=now_ms() + 1)

        assert await database.write("test", lose)
        await failed.until("a lighthouse")
        await page.until(">failed<")


async def test_a_page_that_comes_back_to_a_filter_has_what_is_wanted_now(database: Database) -> None:
    """An old task failed in the meantime, others ceased to be wanted: the list comes whole."""
    await call(database, "1", "an old card")
    await call(database, "2", "a failed card", status="FAILURE")
    async with page_of(Stream(database), wanted=FAILED) as page:
        await page.until("a failed card")
        known = page.last_id
    await call(database, "1", "an old card", status="FAILURE")
    async with page_of(Stream(database), wanted=FAILED, since_ms=known + 60_000) as page:
        await page.until('hx-target="#gallery" hx-swap="innerMorph"')
        assert "an old card" in page.text


async def test_a_page_that_was_away_for_long_gets_the_list_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More has come than is live: between it and what the page has would be a gap."""
    monkeypatch.setattr("hooks.dashboard.gallery.LIVE_CARDS", 3)
    for n in range(5):
        await call(database, str(n), f"card {n}")
    async with page_of(Stream(database), since_ms=1) as page:
        await page.until('hx-target="#gallery" hx-swap="innerMorph"')
        await page.until("/?before=")
        assert "card 4" in page.text
        assert "card 1" not in page.text
