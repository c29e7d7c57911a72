"""Server-sent events that keep open pages up to date. The changes are read from the database, so any process may have made them.

One loop queries the database for all pages of a process, in its own thread: what several pages show is read and rendered once.
The loop uses at most `CPU_SHARE` of the processor, so any number of pages slows callbacks little: under load pages are updated
later, and receive only the last of several changes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence

import msgspec
import structlog

from hooks.topics import Changes, Marks, Piece, Topic
from storage import clock
from storage.driver.outage import is_outage
from storage.engine import Connection, Database
from storage.errors import StorageError

log = structlog.get_logger("hookchain")

LEAST_GAP_S = 0.25
"""Least time between two queries."""

MOST_GAP_S = 1.0
"""Longest idle time between two queries while a page is open. Other processes may write without a wake-up reaching this one."""

CPU_SHARE = 0.04
"""The share of one processor that querying, rendering and sending may use."""

SENT_IN_A_SECOND = 300e6
"""Bytes that one processor sends in a second to many pages if it does nothing else: an estimate, measured over loopback."""

REST_FACTOR = 3.0
"""The pause after a query, as a multiple of the query's duration: a remote database uses processor time that we cannot measure."""

PING_S = 15.0
"""Time between two keep-alive comments: routers close silent streams (Heroku after 55 s)."""

LIFE_S = 3600.0
"""Lifetime of a stream. The page then reconnects, and its session is checked again."""

MOST_STREAMS = 1000
MOST_WAITING = 16
"""Updates that may wait for one page. A page that reads slower is disconnected; it reconnects and gets the state at that time."""

SKEW_MS = 5000
"""How much the clocks of several machines may differ: sending a change twice is better than not at all."""

CUT_OFF_S = 1.0
"""Seconds after `stop` until a browser that does not read is disconnected."""

LONGEST_REST_S = 10.0
"""Longest pause after a query, however long the query took."""

FULL = b"retry: 15000\n\n"
"""A stream that ends at once: the page reconnects later, whereas an error response would make it give up."""

_END_OF_LINE = re.compile(r"\r\n|\r|\n")


class _Page:
    """One stream. `since_ms`: the changes since this time have not been sent yet; None once they have."""

    def __init__(self, language: str, since_ms: int) -> None:
        self.language = language
        self.since_ms: int | None = since_ms
        self.waiting: list[bytes] = []
        self.news = asyncio.Event()
        self.is_over = False

    def send(self, news: bytes) -> None:
        if len(self.waiting) >= MOST_WAITING:
            self.is_over = True
            self.waiting.clear()
        elif news and not self.is_over:
            self.waiting.append(news)
        self.news.set()


class _Query(msgspec.Struct, frozen=True):
    """What to query about a topic. `known` is None if no page has received the topic yet. `late` holds language and `since_ms` of
    the pages that have not received their first update."""

    topic: Topic
    known: Marks | None
    languages: frozenset[str]
    late: frozenset[tuple[str, int]]


class _News(msgspec.Struct, frozen=True):
    """The result of a query: the update for each language, and for each late page."""

    marks: Marks
    news: Mapping[str, bytes]
    late: Mapping[tuple[str, int], bytes]


class Stream:
    """Queries the database for all pages of this process. `stop` ends their streams; the server waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._topics: dict[str, Topic] = {}
        self._pages: dict[str, set[_Page]] = {}
        self._marks: dict[str, Marks] = {}
        self._woken = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[object]] = set()
        self._stopping = False
        database.wakeups.subscribe("events", self._woken.set)
        database.wakeups.subscribe("submissions", self._woken.set)

    @property
    def pages(self) -> int:
        """The number of open streams."""
        return sum(len(pages) for pages in self._pages.values())

    @property
    def is_full(self) -> bool:
        """True if no further page is accepted."""
        return self._stopping or self.pages >= MOST_STREAMS

    def stop(self) -> None:
        """End all streams; disconnect browsers that do not read after `CUT_OFF_S`."""
        self._stopping = True
        for pages in self._pages.values():
            _end(pages)
        if self._serving:
            asyncio.get_running_loop().call_later(CUT_OFF_S, self._cut_off)

    def _cut_off(self) -> None:
        for task in self._serving:
            task.cancel()

    async def messages(self, topic: Topic, language: str, since_ms: int) -> AsyncGenerator[bytes]:
        """Yield the bytes of one page's stream. `since_ms` is the id of the last message that the page received, or when the page
        was rendered; the next query sends what has changed since."""
        # The clock was set back since then: the whole page is sent.
        is_ahead = since_ms > clock.now_ms() + SKEW_MS
        page = _Page(language, 0 if is_ahead else since_ms)
        ends_s = time.monotonic() + LIFE_S
        if self.is_full:
            yield FULL
            return
        if (serving := asyncio.current_task()) is not None:
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
        yield b"retry: 1000\n\n"
        self._topics.setdefault(topic.key, topic)
        self._pages.setdefault(topic.key, set()).add(page)
        self._woken.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._run(), name="stream")
        try:
            while not (page.is_over or self._stopping) and time.monotonic() < ends_s:
                page.news.clear()
                if page.waiting:
                    batch, page.waiting = page.waiting, []
                    yield batch[0] if len(batch) == 1 else b"".join(batch)
                    continue
                try:
                    async with asyncio.timeout(PING_S):
                        await page.news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._leave(topic.key, page)

    def _leave(self, key: str, page: _Page) -> None:
        pages = self._pages[key]
        pages.discard(page)
        if not pages:
            del self._pages[key], self._topics[key]
            self._marks.pop(key, None)

    async def _run(self) -> None:
        """Query repeatedly as long as a page is open."""
        while self._pages:
            began_s, took_s = time.monotonic(), 0.0
            self._woken.clear()
            try:
                took_s = await self._update_pages()
            # During an outage the pages stay as they are.
            except StorageError as error:
                log.warning("open pages are not updated because the database is unavailable", why=str(error))
            rest_s = max(LEAST_GAP_S, took_s / CPU_SHARE, REST_FACTOR * (time.monotonic() - began_s))
            await asyncio.sleep(min(rest_s, LONGEST_REST_S))
            try:
                async with asyncio.timeout(MOST_GAP_S):
                    await self._woken.wait()
            except TimeoutError:
                # Query even without a wake-up.
                pass

    async def _update_pages(self) -> float:
        """Query once and send the changes to all pages; return the seconds of processor time that it took."""
        at_ms = clock.now_ms()
        queries = [self._query_of(key, pages) for key, pages in self._pages.items()]
        results, took_s = await self._database.look(
            lambda connection: _run_queries(connection, queries, at_ms)
        )
        sent = 0
        for query, result in zip(queries, results, strict=True):
            pages = self._pages.get(query.topic.key, set())
            if result is None:
                _end(pages)
                continue
            if pages:
                self._marks[query.topic.key] = result.marks
            for page in pages:
                if page.since_ms is None:
                    news = result.news.get(page.language, b"")
                elif (page.language, page.since_ms) in query.late:
                    news, page.since_ms = result.late[page.language, page.since_ms], None
                else:
                    # The page was opened during the query; the next one serves it.
                    continue
                if news:
                    page.send(news)
                    sent += len(news)
            # Let callbacks run first.
            await asyncio.sleep(0)
        return took_s + sent / SENT_IN_A_SECOND

    def _query_of(self, key: str, pages: Collection[_Page]) -> _Query:
        return _Query(
            self._topics[key],
            self._marks.get(key),
            frozenset(page.language for page in pages if page.since_ms is None),
            frozenset((page.language, page.since_ms) for page in pages if page.since_ms is not None),
        )


def _end(pages: Collection[_Page]) -> None:
    for page in pages:
        page.is_over = True
        page.news.set()


def _run_queries(
    connection: Connection, queries: Sequence[_Query], at_ms: int
) -> tuple[list[_News | None], float]:
    """Return the results, and the seconds of processor time that this thread took."""
    began_s = time.thread_time()
    return [_query_safely(connection, query, at_ms) for query in queries], time.thread_time() - began_s


def _query_safely(connection: Connection, query: _Query, at_ms: int) -> _News | None:
    """Return None if the topic's own code fails, so that the pages of other topics are still updated."""
    try:
        return _run_query(connection, query, at_ms)
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("reading the changes of a page failed", topic=query.topic.key)
        return None


def _run_query(connection: Connection, query: _Query, at_ms: int) -> _News:
    known, pieces = query.known, []
    if known is not None:
        changes = query.topic.changes(connection, known)
        known, pieces = changes.marks, changes.changed
    news = {language: _messages(pieces, language, at_ms) for language in query.languages}
    if not query.late:
        return _News(known or {}, news, {})
    whole = query.topic.changes(connection, {})
    late = {}
    for language, since_ms in query.late:
        late[language, since_ms] = _messages(_missed(whole, since_ms - SKEW_MS), language, at_ms)
    return _News(whole.marks if known is None else known, news, late)


def _missed(changes: Changes, since_ms: int) -> list[Piece]:
    if changes.missed is not None:
        return changes.missed(since_ms)
    return [piece for piece in changes.changed if piece.changed_at_ms > since_ms]


def _messages(pieces: Iterable[Piece], language: str, at_ms: int) -> bytes:
    """Return the pieces as messages, one each; b"" if there are none."""
    return "".join(_message(piece.render(language), at_ms) for piece in pieces).encode()


def _message(html: str, at_ms: int) -> str:
    """Return one message (WHATWG HTML, "Server-sent events"), unnamed so that htmx swaps its content."""
    lines = "".join(f"data: {line}\n" for line in _END_OF_LINE.split(html))
    return f"id: {at_ms}\n{lines}\n"
