"""Orders that moved to another account: a new submission there takes the place of the one that made nothing here."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.records import Submission
from storage.tickets import sql

_MOVED = "|moved|"


def key_of_move(upstream: str, submission_id: str) -> str:
    """The idempotency key of the submission that takes the place of this one at another account."""
    return f"{upstream}{_MOVED}{submission_id}|0"


def moved_from(submission: Submission) -> str:
    """The submission whose place this one took, or ""."""
    key = submission.idempotency_key
    before = key.removeprefix(f"{submission.upstream}{_MOVED}").removesuffix("|0")
    return before if key == key_of_move(submission.upstream, before) else ""


def tried(connection: Connection, chain_id: str) -> frozenset[str]:
    """The accounts at which an order was tried: those of all roots of its chain."""
    return frozenset(sql.ROOT_UPSTREAMS.all(connection, chain_id=chain_id))


def is_clear(connection: Connection, submission_id: str, but_number: int) -> bool:
    """True if nothing suggests that the account has something of a submission: an attempt, other than this one, without a clear
    answer; a task; or a callback on its hook."""
    return sql.SIGN_OF_LIFE.first(connection, id=submission_id, number=but_number) is None


def follow(connection: Connection, chain_id: str, old_id: str, new_id: str, upstream: str) -> None:
    """Let the tickets and the chain of a submission go on with the one that took its place."""
    sql.MOVE_TICKETS(connection, old_id=old_id, new_id=new_id, upstream=upstream)
    sql.MOVE_CHAIN(connection, chain_id=chain_id, upstream=upstream)


def stopped(connection: Connection, now_ms: int) -> frozenset[str]:
    """Upstreams to which nothing is sent now: paused, with a full queue, or with an open breaker."""
    return frozenset(sql.STOPPED.all(connection, now_ms=now_ms))


def busy(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """How many submissions wait at each of these upstreams, or are being sent."""
    return dict(sql.BUSY.all(connection, names=list(names)))
