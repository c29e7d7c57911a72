"""Open pages: one look for all of them, each is told what it lacks, and none that does not read is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hooks import stream as streams
from hooks.stream import Stream
from hooks.topics import Changes, Marks, Piece
from storage.engine import Connection, Database
from storage.errors import NotDurable
from tests.conftest import PATIENCE_S

AGES_AGO_MS = 1_000_000


class Board:
    """A topic of one piece with a number on it; what it was asked is counted."""

    key = "board"

    def __init__(self) -> None:
        self.number = 1
        self.rendered: list[str] = []
        self.is_away = False

    def changes(self, connection: Connection, known: Marks) -> Changes:
        if self.is_away:
            self.is_away = False
            raise NotDurable("away")
        number = int(connection.exec_driver_sql(f"SELECT {self.number}").scalar_one())
        marks = {"piece": number}

        def render(language: str) -> str:
            self.rendered.append(language)
            return f"{language} {number}"

        piece = Piece(render=render, changed_at_ms=AGES_AGO_MS + number * 3 * streams.SKEW_MS)
        changed = [] if known == marks else [piece]
        return Changes(marks=marks, changed=changed)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest between looks: tests have other things to wait for."""
    monkeypatch.setattr(streams, "LEAST_GAP_S", 0.0)
    monkeypatch.setattr(streams, "REST_FACTOR", 0.0)
    monkeypatch.setattr(streams, "CPU_SHARE", 1.0)


def opened(stream: Stream, board: Board, language: str = "en", since_ms: int = 0) -> AsyncIterator[bytes]:
    return stream.messages(board, language, since_ms)


async def news(messages: AsyncIterator[bytes]) -> str:
    """The next words that are about something."""
    async with asyncio.timeout(PATIENCE_S):
        async for message in messages:
            if b"data: " in message:
                return message.decode().partition("data: ")[2].strip()
    return "the end"


async def test_pages_that_open_together_share_one_look(database: Database) -> None:
    """Fifty pages after a restart, in two languages: two pieces are rendered, and each page gets the one it reads."""
    stream, board = Stream(database), Board()
    pages = [opened(stream, board, ("en", "zh")[number % 2]) for number in range(50)]
    assert await asyncio.gather(*map(news, pages)) == ["en 1", "zh 1"] * 25
    assert sorted(board.rendered) == ["en", "zh"]
    stream.stop()


async def test_a_page_is_told_what_changed_and_nothing_twice(database: Database) -> None:
    """One page knows all that there is, another came from before it; both hear of the change, as one message."""
    stream, board = Stream(database), Board()
    late = opened(stream, board)
    assert await news(late) == "en 1"
    fresh = opened(stream, board, since_ms=AGES_AGO_MS + 5 * streams.SKEW_MS)
    told = asyncio.create_task(news(fresh))
    while stream.pages < 2:
        await asyncio.sleep(0)
    board.number = 2
    database.wakeups.wake("events")
    assert await told == "en 2"
    assert await news(late) == "en 2"
    stream.stop()
    assert [await news(late), await news(fresh)] == ["the end", "the end"]


async def test_who_does_not_read_is_cut_off_and_the_others_go_on(database: Database) -> None:
    """A page stops reading: what waits for it is bounded, then let go, and its stream ends when it reads again."""
    stream, board = Stream(database), Board()
    stuck, quick = opened(stream, board), opened(stream, board)
    await asyncio.gather(news(stuck), news(quick))
    for number in range(2, streams.MOST_WAITING + 4):
        board.number = number
        database.wakeups.wake("events")
        assert await news(quick) == f"en {number}"
    assert await news(stuck) == "the end"
    assert stream.pages == 1
    stream.stop()


async def test_an_outage_keeps_pages_waiting_and_loses_nothing(database: Database) -> None:
    """The first look finds the database away; the next one tells the page all the same."""
    stream, board = Stream(database), Board()
    board.is_away = True
    page = opened(stream, board)
    assert await news(page) == "en 1"
    stream.stop()
    assert await news(page) == "the end"
    assert stream.pages == 0
