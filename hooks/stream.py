"""Server-sent events: pages that stay true, fed from the database, so whichever process wrote what they show.

All pages of a process share one look at the database: what several show is asked for, and rendered, once. A look takes
its share of the process at most (`SHARE`), so that any number of pages costs callbacks little: they are told later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Protocol

import msgspec
import structlog

from storage.engine import Connection, Database
from storage.errors import StorageError
from storage.outage import is_outage

log = structlog.get_logger("hookchain")

GAP_S = 0.25
"""Between two looks at least."""

LOOK_S = 1.0
"""Between two looks at most, while anybody looks. What other processes write may come with no wake-up."""

SHARE = 0.04
"""Of the time that may go into looking and rendering."""

PING_S = 15.0
"""Between two words on a stream: routers close those that are silent (Heroku after 55 s)."""

LIFE_S = 3600.0
"""Of a stream; then the page connects again, and is asked again whether it may."""

MOST_STREAMS = 1000
MOST_WAITING = 64
"""Messages that wait for one page. Who reads slower is cut off, connects again and gets what is then true."""

SKEW_MS = 5000
"""What the clocks of several machines may differ by: a page is told again rather than not at all."""

Marks = Mapping[str, object]
"""For each piece of a page a value that changes with it."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a page that is to be written anew; times are epoch ms. `is_new`: the look before did not have it.

    `render` makes HTML of a language, and of whether the page may lack the piece.
    """

    render: Callable[[str, bool], str]
    changed_at_ms: int
    born_at_ms: int = 0
    is_new: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic is like now: the marks of all its pieces, and those pieces whose mark was not the known one."""

    marks: Marks
    changed: list[Piece]


class Topic(Protocol):
    """What a page shows. Topics of one `key` show the same."""

    @property
    def key(self) -> str:
        """Its name."""
        ...

    def look(self, connection: Connection, known: Marks) -> Look:
        """Its pieces; asked in a thread that may block."""
        ...


class _Page:
    """One stream."""

    def __init__(self, topic: Topic, language: str) -> None:
        self.topic = topic
        self.language = language
        self.waiting: list[str] = []
        self.news = asyncio.Event()
        self.is_over = False

    def send(self, message: str) -> None:
        if len(self.waiting) >= MOST_WAITING:
            self.is_over = True
        else:
            self.waiting.append(message)
        self.news.set()


class Stream:
    """Looks at the database for all pages of this process. `stop` ends their streams: the server waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages: dict[str, set[_Page]] = {}
        self._marks: dict[str, Marks] = {}
        self._woken = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
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
        """End all streams."""
        self._stopping = True
        for pages in self._pages.values():
            _end(pages)

    async def messages(self, topic: Topic, language: str, since_ms: int) -> AsyncIterator[bytes]:
        """The bytes of one page's stream. `since_ms` is the id of the last message that it got, or when it was made:
        what has changed since is told at once."""
        page = _Page(topic, language)
        ends_s = time.monotonic() + LIFE_S
        yield b"retry: 1000\n\n"
        self._pages.setdefault(topic.key, set()).add(page)
        try:
            await self._catch_up(page, since_ms)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_on(), name="stream")
            while not page.is_over and time.monotonic() < ends_s:
                page.news.clear()
                if page.waiting:
                    batch, page.waiting = "".join(page.waiting), []
                    yield batch.encode()
                    continue
                try:
                    async with asyncio.timeout(PING_S):
                        await page.news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            pages = self._pages[topic.key]
            pages.discard(page)
            if not pages:
                del self._pages[topic.key]
                self._marks.pop(topic.key, None)

    async def _catch_up(self, page: _Page, since_ms: int) -> None:
        key = page.topic.key
        while (
            True
        ):  # what all were told meanwhile may be newer than what was read here, and must not be undone
            at_ms, told = _now_ms(), self._marks.get(key)
            look = await self._database.read(lambda connection: page.topic.look(connection, {}))
            if self._marks.get(key) is told:
                break
        self._marks.setdefault(key, look.marks)
        for piece in look.changed:
            if piece.changed_at_ms > since_ms - SKEW_MS:
                is_new = piece.born_at_ms > since_ms - SKEW_MS
                page.send(_message(piece.render(page.language, is_new), at_ms))

    async def _look_on(self) -> None:
        """Look again and again for as long as there is a page."""
        while self._pages:
            began_s = time.monotonic()
            try:
                await self._look()
            except StorageError as error:  # an outage: the pages stay as they are
                log.warning("pages are not told, the database cannot be asked", why=str(error))
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(GAP_S, took_s / SHARE))
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                pass  # nobody woke us: look anyway
            self._woken.clear()

    async def _look(self) -> None:
        at_ms = _now_ms()
        topics = [next(iter(pages)).topic for pages in self._pages.values()]
        marks = dict(self._marks)
        looks = await self._database.read(
            lambda connection: [(one.key, _looked(one, connection, marks.get(one.key, {}))) for one in topics]
        )
        for key, look in looks:
            pages = self._pages.get(key, set())
            if look is None:
                _end(pages)
            elif pages:
                self._marks[key] = look.marks
                _tell(pages, look, at_ms)
            await asyncio.sleep(0)  # callbacks come first


def _end(pages: Collection[_Page]) -> None:
    for page in pages:
        page.is_over = True
        page.news.set()


def _looked(topic: Topic, connection: Connection, known: Marks) -> Look | None:
    """None where the topic has a mistake, which is its own: the pages of others go on."""
    try:
        return topic.look(connection, known)
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("a page cannot be told what changed", topic=topic.key)
        return None


def _tell(pages: Collection[_Page], look: Look, at_ms: int) -> None:
    for piece in look.changed:
        for language in {page.language for page in pages}:
            message = _message(piece.render(language, piece.is_new), at_ms)
            for page in pages:
                if page.language == language:
                    page.send(message)


def _message(html: str, at_ms: int) -> str:
    """One message (WHATWG HTML, "Server-sent events"): unnamed, so that htmx swaps what is in it."""
    lines = "".join(
        f"data: {line}\n" for line in html.splitlines()
    )  # which knows more ends of lines than SSE does
    return f"id: {at_ms}\n{lines}\n"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
