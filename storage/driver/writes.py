"""What a writer takes: calls of named units, and callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import msgspec
from sqlalchemy import Connection

from storage.driver.wakeups import Topic
from storage.records import Incoming, Recorded

Work = Callable[[Connection], Any]
"""The work of a transaction: runs statements on the connection and returns a value. It does no other I/O."""

Stage = Literal["before", "after"]
Observer = Callable[[Stage, str], None]
"""Called in the writing thread, just before and just after the commit of each named transaction."""


class Callbacks(Protocol):
    """How callbacks are stored: see storage/callbacks.py."""

    def begin(self, connection: Connection) -> None:
        """Prepare the connection for a transaction."""

    def keep(self, connection: Connection, batch: list[Incoming]) -> list[Recorded]:
        """Write a batch of callbacks."""

    def topics(self, incoming: Incoming) -> Iterable[Topic]:
        """The topics to wake for this callback."""


class Call(msgspec.Struct, eq=False):
    """Units that belong together: all of them are committed, or none."""

    units: tuple[tuple[str, Work], ...]
    answer: asyncio.Future[list[Any]]
    put_off_s: float = 0.0  # when it was first put off
    committed: Callable[[], None] | None = None


class Append(msgspec.Struct, eq=False):
    """One callback; all callbacks of a batch are written with the same statements."""

    incoming: Incoming
    answer: asyncio.Future[Recorded]
    put_off_s: float = 0.0  # when it was first put off


def answer(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Give each future its value or its error. Performed on the event loop."""
    for future, outcome in outcomes:
        if future.done():  # the caller was cancelled; the write stands
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
