"""A database in memory, in which the server's own functions try something, and of which nothing remains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from storage import schema
from storage.budgets.billing import PLAN, Plan
from storage.driver import sqlite
from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.driver.wakeups import Wakeups
from storage.duty import protocol
from storage.duty.duties import SUBMISSIONS
from storage.meter import Meter
from storage.records import ChainRow, Delivery, Submission
from storage.submissions import submission_queue
from storage.upstreams import standings

T = TypeVar("T")

_RENAME_SUBMISSION = (
    Command("UPDATE submissions SET id = :new WHERE id = :old"),
    Command("UPDATE attempts SET submission_id = :new WHERE submission_id = :old"),
    Command("UPDATE events SET submission_id = :new WHERE submission_id = :old"),
    Command("UPDATE tasks SET submission_id = :new WHERE submission_id = :old"),
)
_RENAME_CHAIN = (
    Command("UPDATE chains SET id = :new WHERE id = :old"),
    Command("UPDATE submissions SET chain_id = :new WHERE chain_id = :old"),
    Command("UPDATE tasks SET chain_id = :new WHERE chain_id = :old"),
    Command("UPDATE approvals SET chain_id = :new WHERE chain_id = :old"),
    Command("UPDATE joins SET chain_id = :new WHERE chain_id = :old"),
    Command("UPDATE firings SET scope = 'chain:' || :new WHERE scope = 'chain:' || :old"),
)
_ADD_CHAIN = Command(f"INSERT INTO chains ({columns_of(ChainRow)}) VALUES ({parameters_of(ChainRow)})")
_CHAIN = Query("SELECT id FROM chains WHERE id = :id", str)
_DELIVERY = Query(f"SELECT {columns_of(Delivery)} FROM deliveries WHERE id = :id", Delivery)
_NEWEST_EVENT = Query("SELECT max(id) FROM events", int)
_BEGIN_NOW = Command(
    "UPDATE submissions SET state = 'waiting', run_at_ms = :now_ms, terms = NULL, lane = '' WHERE id = :id"
)
_ENDED = Command(
    """
    UPDATE submissions SET state = :state, outcome = :outcome, reason = :reason, task_ids = :task_ids, updated_at_ms = :now_ms
    WHERE id = :id
    """
)
_NEXT = Query(
    """
    SELECT min(at_ms) FROM (
        SELECT min(run_at_ms) AS at_ms FROM submissions WHERE state = 'waiting' AND run_at_ms > :now_ms
        UNION ALL
        SELECT min(expires_at_ms) FROM approvals WHERE state = 'open' AND expires_at_ms > :now_ms
    ) AS moments
    """,
    int,
)
_HELD_BY = Query(
    "SELECT approval_id FROM submissions WHERE idempotency_key IN (:keys) AND state = 'held' LIMIT 1", str
)
_GIVEN = Query("SELECT coalesce(max(given), 0) FROM joins WHERE chain_id = :chain_id", int)
_TERMS = Query("SELECT coalesce(terms, '') FROM submissions WHERE id = :id", str)


class Scratch:
    """The database: one connection, in one transaction that is never committed. Nothing in it waits."""

    def __init__(self, upstreams: Iterable[str], plan: Plan | None) -> None:
        self.meter = Meter()
        self.wakeups = Wakeups()
        self._engine = sqlite.memory_engine()
        self.connection: Connection = self._engine.connect()
        schema.metadata.create_all(self.connection)
        self.connection.info[PLAN] = plan
        standings.add(self.connection, upstreams)

    def close(self) -> None:
        """Forget everything."""
        self.connection.close()
        self._engine.dispose()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query."""
        return query(self.connection)

    async def write(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run what would be a transaction."""
        return work(self.connection)

    @contextmanager
    def charging(self, charges: bool) -> Iterator[None]:
        """Within the block, charge budgets or not."""
        plan = self.connection.info[PLAN]
        self.connection.info[PLAN] = plan if charges else None
        try:
            yield
        finally:
            self.connection.info[PLAN] = plan

    # What the trial asks.

    def has_chain(self, chain_id: str) -> bool:
        """True if a chain is known."""
        return _CHAIN.first(self.connection, id=chain_id) is not None

    def delivery(self, delivery_id: int) -> Delivery:
        """A delivery as it is now."""
        return _DELIVERY.one(self.connection, id=delivery_id)

    def newest_event(self) -> int:
        """The id of the newest event, 0 if there is none."""
        return _NEWEST_EVENT.first(self.connection) or 0

    def next_ms(self, now_ms: int) -> int | None:
        """The next moment after this one at which something is due; None if nothing waits."""
        return _NEXT.first(self.connection, now_ms=now_ms)

    def approval_of(self, keys: Sequence[str]) -> str | None:
        """The approval that holds one of these intents; None if none is held."""
        return _HELD_BY.first(self.connection, keys=list(keys))

    def terms_of(self, submission_id: str) -> str:
        """The terms on which a submission was scheduled, or ""."""
        return _TERMS.first(self.connection, id=submission_id) or ""

    def gives_joins(self, chain_id: str) -> bool:
        """True if a join of a chain was given here."""
        return _GIVEN.one(self.connection, chain_id=chain_id) > 0

    # What the recorded past knows better.

    def add_chain(self, chain: ChainRow) -> None:
        """Add a chain of which nothing was requested yet."""
        empty = msgspec.structs.replace(chain, submissions=0, automatic=0)
        _ADD_CHAIN(self.connection, **msgspec.structs.asdict(empty))

    def rename(self, made: Submission, real: Submission) -> None:
        """Give a submission, and the chain that it began, the ids that they really have."""
        if made.id != real.id:
            for statement in _RENAME_SUBMISSION:
                statement(self.connection, old=made.id, new=real.id)
        if made.chain_id != real.chain_id and not made.parent_id and not self.has_chain(real.chain_id):
            for statement in _RENAME_CHAIN:
                statement(self.connection, old=made.chain_id, new=real.chain_id)

    def begin(self, submission_id: str, now_ms: int) -> Submission:
        """Begin an attempt at a submission, whatever it waits for."""
        _BEGIN_NOW(self.connection, id=submission_id, now_ms=now_ms)
        protocol.claim(self.connection, SUBMISSIONS, [submission_id], worker="", now_ms=now_ms)
        begun = submission_queue.find(self.connection, submission_id)
        assert begun is not None, "it was claimed a moment ago"
        submission_queue.note_attempts(self.connection, [begun], now_ms)
        return begun

    def put_state(self, submission: Submission, now_ms: int) -> None:
        """Let a submission have ended as this one did."""
        _ENDED(
            self.connection,
            id=submission.id,
            state=submission.state,
            outcome=submission.outcome,
            reason=submission.reason,
            task_ids=msgspec.json.encode(submission.task_ids).decode(),
            now_ms=now_ms,
        )
