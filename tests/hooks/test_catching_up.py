"""A page that opens while something happens ends with what is true."""

from __future__ import annotations

import asyncio

from sqlalchemy.util import await_only

from hooks.stream import Look, Marks, Piece, Stream
from storage.engine import Connection, Database


class Number:
    """A topic that shows how often it was looked at. What the second page is told first takes until it is let go."""

    key = "number"

    def __init__(self) -> None:
        self.looks = 0
        self.pages = 0
        self.later = 0
        self.go = asyncio.Event()

    def look(self, _connection: Connection, known: Marks) -> Look:
        """One piece, which is another one each time."""
        self.looks += 1
        number = self.looks
        if not known:
            self.pages += 1
            if self.pages == 2:
                await_only(self.go.wait())
        elif self.pages == 2:
            self.later += 1
            if self.later == 2:  # what the look before this one found, all have been told
                self.go.set()
        piece = Piece(render=lambda _language, _is_new: f"number {number}", changed_at_ms=1)
        return Look(marks={"number": number}, changed=[piece])


async def test_what_was_read_late_does_not_undo_what_is_newer(database: Database) -> None:
    """A page is open; another opens, its first answer is slow, and both are told of a change meanwhile."""
    topic, stream = Number(), Stream(database)
    numbers: list[int] = []

    async def listen(heard: list[int]) -> None:
        async for message in stream.messages(topic, "en", 1):
            heard += [
                int(line.split()[-1]) for line in message.decode().splitlines() if line.startswith("data")
            ]
            if len(numbers) >= 3:
                stream.stop()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(listen([]))
        while not topic.looks:
            await asyncio.sleep(0)
        group.create_task(listen(numbers))
    assert numbers == sorted(numbers)
