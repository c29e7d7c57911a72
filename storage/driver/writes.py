"""What a writer takes: calls of named units, and items of steps, which are done for many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
from sqlalchemy import Connection

Work = Callable[[Connection], Any]
"""The work of a transaction: runs statements on the connection and returns a value. It does no other I/O."""

Stage = Literal["before", "after"]
Observer = Callable[[Stage, str], None]
"""Called in the writing thread, just before and just after the commit of each named transaction."""

Value = TypeVar("Value")
Result = TypeVar("Result")


class Closing(msgspec.Struct, frozen=True, eq=False):
    """A unit for the end of a transaction, run once, however many of its items want it.

    `done` gets its value on the event loop, after the commit; or its error, and then the transaction was committed without it.
    """

    name: str
    work: Work
    done: Callable[[Any], None]


class Step(msgspec.Struct, Generic[Value, Result], frozen=True, eq=False):
    """Work that is done for many at once: what waits together gets one call of `work`, in one transaction.

    `work` returns a result for each value, in their order, or an exception where it has written nothing for this value. If it raises,
    nothing of that call stays, and it is called again for each value alone.
    """

    name: str
    work: Callable[[Connection, list[Value]], Sequence[Result | Exception]]


class Call(msgspec.Struct, eq=False):
    """Units that belong together: all of them are committed, or none."""

    units: tuple[tuple[str, Work], ...]
    answer: asyncio.Future[list[Any]]
    put_off_s: float = 0.0  # when it was first put off
    committed: Callable[[], None] | None = None


class Item(msgspec.Struct, eq=False):
    """One value for a step, and what is to be done at the end of its transaction."""

    step: Step[Any, Any]
    value: Any
    answer: asyncio.Future[Any]
    closing: Closing | None = None
    put_off_s: float = 0.0  # when it was first put off


Entry = Call | Item


class Outcomes(msgspec.Struct):
    """How a batch ended: for each write its value or its error, and the same for each closing."""

    answers: list[tuple[asyncio.Future[Any], Any]] = []
    closed: list[tuple[Closing, Any]] = []

    def add(self, others: Outcomes) -> None:
        """Add the outcomes of another batch."""
        self.answers += others.answers
        self.closed += others.closed


def answer(outcomes: Outcomes) -> None:
    """Give each future and each closing its value or its error. Performed on the event loop."""
    for future, outcome in outcomes.answers:
        if future.done():  # the caller was cancelled; the write stands
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    loop = asyncio.get_running_loop()
    for closing, outcome in outcomes.closed:
        loop.call_soon(closing.done, outcome)  # an error of its own must not end the writer
