"""One transaction: the writes of a batch, each with its own answer, and one commit. Runs in the writer's thread.

Items come first, so that a fan-out in the same batch includes the callbacks; then calls, in order; then what closes the transaction.
A write that fails is rolled back alone, to the savepoint before it. A write alone in its transaction needs no savepoint: it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from storage.driver.connection import WriterConnection
from storage.driver.outage import is_conflict, is_outage, translated
from storage.driver.statements import Command
from storage.driver.writes import Call, Closing, Entry, Item, Observer, Outcomes, Stage
from storage.meter import Holds

_SAVEPOINT = Command("SAVEPOINT call")
_ROLL_BACK = Command("ROLLBACK TO SAVEPOINT call")
_RELEASE = Command("RELEASE SAVEPOINT call")


class ClosingFailed(Exception):
    """A closing raised: the writes of its transaction are to be repeated without it."""

    def __init__(self, closing: Closing) -> None:
        super().__init__(closing.name)
        self.closing = closing


class Transaction:
    """Runs batches on the connection of a writer. `begin` prepares the connection for each."""

    def __init__(self, connection: WriterConnection, begin: Callable[[Connection], None]) -> None:
        self._connection = connection
        self._begin = begin
        self.observers: list[Observer] = []
        self.holds = Holds()

    def run(self, batch: Sequence[Entry], without: Collection[Closing] = ()) -> Outcomes:
        """Commit a batch. Raises what makes the whole of it fail, and `ClosingFailed`; then nothing is stored."""
        connection = self._connection.connected()
        self._begin(connection)
        outcomes, names = Outcomes(), list[str]()
        try:
            for items in _by_step(batch):
                results = self._together(connection, items, alone=len(items) == len(batch))
                outcomes.answers += zip((item.answer for item in items), results, strict=True)
                names += [items[0].step.name for result in results if not isinstance(result, Exception)]
            for call in batch:
                if isinstance(call, Call):
                    outcome = self._values(connection, call, alone=len(batch) == 1)
                    outcomes.answers.append((call.answer, outcome))
                    if not isinstance(outcome, Exception):
                        names += [name for name, _ in call.units]
            for closing in _closings(batch):
                if closing not in without:
                    outcomes.closed.append((closing, self._closed(connection, closing)))
                    names.append(closing.name)
            self._notify("before", names)
            self.holds.timed(Holds.COMMIT, partial(self._connection.commit, connection))
        except BaseException:
            connection.rollback()
            raise
        self._notify("after", names)
        for call in batch:
            if isinstance(call, Call) and call.committed is not None:
                call.committed()
        return outcomes

    def _together(self, connection: Connection, items: list[Item], *, alone: bool) -> Sequence[Any]:
        """The results of one step. If it raises for several, each is tried alone."""
        step = items[0].step

        def done(items: list[Item]) -> Sequence[Any]:
            work = partial(step.work, connection, [item.value for item in items])
            return self.holds.timed(step.name, work)

        if alone:
            return done(items)
        results = self._tried(connection, partial(done, items))
        if not isinstance(results, Exception):
            return results
        if len(items) == 1:
            return [results]
        return [result for item in items for result in self._together(connection, [item], alone=False)]

    def _values(self, connection: Connection, call: Call, *, alone: bool) -> Sequence[Any] | Exception:
        """The values of a call's units, or the error of one of them."""

        def done() -> Sequence[Any]:
            return [self.holds.timed(name, partial(work, connection)) for name, work in call.units]

        return done() if alone else self._tried(connection, done)

    def _tried(self, connection: Connection, work: Callable[[], Sequence[Any]]) -> Sequence[Any] | Exception:
        """What the work returns. If it raises, it is rolled back, and its error returned."""
        _SAVEPOINT(connection)
        outcome: Sequence[Any] | Exception
        try:
            outcome = work()
        except BaseException as error:
            if is_outage(error) or is_conflict(error):
                raise
            _ROLL_BACK(connection)
            outcome = translated(error)
        _RELEASE(connection)
        return outcome

    def _closed(self, connection: Connection, closing: Closing) -> Any:
        try:
            return self.holds.timed(closing.name, partial(closing.work, connection))
        except BaseException as error:
            if is_outage(error) or is_conflict(error):
                raise
            raise ClosingFailed(closing) from error

    def _notify(self, stage: Stage, names: Iterable[str]) -> None:
        for observer in self.observers:
            for name in names:
                observer(stage, name)


def _by_step(batch: Sequence[Entry]) -> list[list[Item]]:
    """The items of a batch, in order of arrival, those of one step together."""
    steps: dict[int, list[Item]] = {}
    for entry in batch:
        if isinstance(entry, Item):
            steps.setdefault(id(entry.step), []).append(entry)
    return list(steps.values())


def _closings(batch: Sequence[Entry]) -> list[Closing]:
    """What closes the transaction of a batch, each once."""
    closings = (entry.closing for entry in batch if isinstance(entry, Item) and entry.closing is not None)
    return list(dict.fromkeys(closings))
