"""Server-sent events: pages that stay true, fed from the database, so whichever process wrote what they show.

All pages of a process share one look at the database, in a thread of its own: what several show is asked for, and
rendered, once. Looks take their share of the process at most (`SHARE`), so that any number of pages costs callbacks
little: under load they are told later, and of several changes the last.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

import msgspec
import structlog

from hooks.topics import Look, Marks, Piece, Topic
from storage.engine import Connection, Database
from storage.errors import StorageError
from storage.outage import is_outage

log = structlog.get_logger("hookchain")

GAP_S = 0.25
"""Between two looks at least."""

LOOK_S = 1.0
"""Between two looks at most, while anybody looks. What other processes write may come with no wake-up."""

SHARE = 0.04
"""Of a processor that may go into looking, rendering and sending."""

SENT_IN_A_SECOND = 300e6
"""Bytes that a processor sends when it does nothing else, many pages together: an estimate, for loopback."""

REST = 3.0
"""Times as long as a look took, nobody looks: a database elsewhere works in it, and its processor is not ours to see."""

PING_S = 15.0
"""Between two words on a stream: routers close those that are silent (Heroku after 55 s)."""

LIFE_S = 3600.0
"""Of a stream; then the page connects again, and is asked again whether it may."""

MOST_STREAMS = 1000
MOST_WAITING = 16
"""Looks whose news wait for one page. Who reads slower is cut off, connects again and gets what is then true."""

SKEW_MS = 5000
"""What the clocks of several machines may differ by: a page is told again rather than not at all."""

CUT_OFF_S = 1.0
"""Seconds after a stop that a browser which does not read gets."""

LONGEST_REST_S = 10.0
"""Between two looks, however long the last one took."""

FULL = b"retry: 15000\n\n"
"""A stream that ends at once: the page comes again, where a refusal would make it give up."""

_END_OF_LINE = re.compile(r"\r\n|\r|\n")


class _Page:
    """One stream. `since_ms`: it has not been told yet what changed since then; None once it has."""

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


class _Asked(msgspec.Struct, frozen=True):
    """What a look asks about a topic. `known` is None where no page has been told of it; `late` are those that have
    not been told yet, by language and since when."""

    topic: Topic
    known: Marks | None
    languages: frozenset[str]
    late: frozenset[tuple[str, int]]


class _Told(msgspec.Struct, frozen=True):
    """What it found: news for the pages by language, and for those that were late."""

    marks: Marks
    news: Mapping[str, bytes]
    late: Mapping[tuple[str, int], bytes]


class Stream:
    """Looks at the database for all pages of this process. `stop` ends their streams: the server waits for them."""

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
        """Open streams."""
        return sum(len(one) for one in self._pages.values())

    @property
    def is_full(self) -> bool:
        """Whether no more pages are taken."""
        return self._stopping or self.pages >= MOST_STREAMS

    def stop(self) -> None:
        """End all streams; those whose browser does not read are cut off a little later."""
        self._stopping = True
        for pages in self._pages.values():
            _end(pages)
        if self._serving:
            asyncio.get_running_loop().call_later(CUT_OFF_S, self._cut_off)

    def _cut_off(self) -> None:
        for task in self._serving:
            task.cancel()

    async def messages(self, topic: Topic, language: str, since_ms: int) -> AsyncIterator[bytes]:
        """The bytes of one page's stream. `since_ms` is the id of the last message that it got, or when it was made:
        what has changed since is told with the next look."""
        page = _Page(language, since_ms)
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
            self._looking = asyncio.create_task(self._look_on(), name="stream")
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

    async def _look_on(self) -> None:
        """Look again and again for as long as there is a page."""
        while self._pages:
            began_s, took_s = time.monotonic(), 0.0
            self._woken.clear()
            try:
                took_s = await self._look()
            except StorageError as error:  # an outage: the pages stay as they are
                log.warning("pages are not told, the database cannot be asked", why=str(error))
            rest_s = max(GAP_S, took_s / SHARE, REST * (time.monotonic() - began_s))
            await asyncio.sleep(min(rest_s, LONGEST_REST_S))
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                pass  # nobody woke us: look anyway

    async def _look(self) -> float:
        """Look once, and tell all pages; seconds of a processor that it took."""
        at_ms = _now_ms()
        asked = [self._asked(key, pages) for key, pages in self._pages.items()]
        told, took_s = await self._database.look(lambda connection: _ask(connection, asked, at_ms))
        sent = 0
        for one, found in zip(asked, told, strict=True):
            pages = self._pages.get(one.topic.key, set())
            if found is None:
                _end(pages)
                continue
            if pages:
                self._marks[one.topic.key] = found.marks
            for page in pages:
                if page.since_ms is None:
                    news = found.news.get(page.language, b"")
                elif (page.language, page.since_ms) in one.late:
                    news, page.since_ms = found.late[page.language, page.since_ms], None
                else:
                    continue  # it came while we looked
                if news:
                    page.send(news)
                    sent += len(news)
            await asyncio.sleep(0)  # callbacks come first
        return took_s + sent / SENT_IN_A_SECOND

    def _asked(self, key: str, pages: Collection[_Page]) -> _Asked:
        return _Asked(
            self._topics[key],
            self._marks.get(key),
            frozenset(page.language for page in pages if page.since_ms is None),
            frozenset((page.language, page.since_ms) for page in pages if page.since_ms is not None),
        )


def _end(pages: Collection[_Page]) -> None:
    for page in pages:
        page.is_over = True
        page.news.set()


def _ask(connection: Connection, asked: Sequence[_Asked], at_ms: int) -> tuple[list[_Told | None], float]:
    """All that was asked, and the seconds of a processor that this thread took for it."""
    began_s = time.thread_time()
    return [_told_safely(connection, one, at_ms) for one in asked], time.thread_time() - began_s


def _told_safely(connection: Connection, asked: _Asked, at_ms: int) -> _Told | None:
    """None where the topic has a mistake, which is its own: the pages of others go on."""
    try:
        return _told(connection, asked, at_ms)
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("a page cannot be told what changed", topic=asked.topic.key)
        return None


def _told(connection: Connection, asked: _Asked, at_ms: int) -> _Told:
    known, pieces = asked.known, []
    if known is not None:
        look = asked.topic.look(connection, known)
        known, pieces = look.marks, look.changed
    news = {one: _news(pieces, one, at_ms) for one in asked.languages}
    if not asked.late:
        return _Told(known or {}, news, {})
    whole = asked.topic.look(connection, {})
    late = {}
    for language, since_ms in asked.late:
        late[language, since_ms] = _news(_missed(whole, since_ms - SKEW_MS), language, at_ms)
    return _Told(whole.marks if known is None else known, news, late)


def _missed(look: Look, told_ms: int) -> list[Piece]:
    if look.missed is not None:
        return look.missed(told_ms)
    return [one for one in look.changed if one.changed_at_ms > told_ms]


def _news(pieces: Iterable[Piece], language: str, at_ms: int) -> bytes:
    """All pieces, a message each; b"" for none."""
    return "".join(_message(one.render(language), at_ms) for one in pieces).encode()


def _message(html: str, at_ms: int) -> str:
    """One message (WHATWG HTML, "Server-sent events"): unnamed, so that htmx swaps what is in it."""
    lines = "".join(f"data: {line}\n" for line in _END_OF_LINE.split(html))
    return f"id: {at_ms}\n{lines}\n"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
