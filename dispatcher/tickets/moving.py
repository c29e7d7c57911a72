"""Moves orders to another account of their client's pool, while the first one certainly has nothing of them.

The submission here ends, and a new one at the other account takes its place, with a mark of that account: so an order never has
two submissions that may be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dispatcher.settling import Sent
from dispatcher.tickets.clients import Client, Pool
from dispatcher.tickets.routing import client_of, may_move, pool_of, serves
from midjourney import wire
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.requests import decode_request
from storage.blobs import rows as blobs
from storage.budgets import charges
from storage.engine import Connection
from storage.records import MOVED, Staged, Submission
from storage.submissions import staging, submission_queue
from storage.tickets import moves


class Moving:
    """`named` returns a client by its name."""

    def __init__(
        self,
        named: Callable[[str], Client],
        pools: Mapping[str, Pool],
        dialects: Mapping[str, Dialect],
    ) -> None:
        self._named = named
        self._pools = pools
        self._dialects = dialects

    def target(self, connection: Connection, sent: Sent) -> str:
        """See `Elsewhere`."""
        if not may_move(sent.submission, sent.settlement):
            return ""
        return self._target(connection, sent.submission, sent.submission.attempts, sent.now_ms)

    def move(self, connection: Connection, submission: Submission, to: str, now_ms: int) -> None:
        """See `Elsewhere`."""
        staged = Staged(
            idempotency_key=moves.key_of_move(to, submission.id),
            chain_id=submission.chain_id,
            upstream=to,
            kind=submission.kind,
            label=submission.label,
            request=submission.request,
            parent_id="",
            depth=submission.depth,
            asked_by=submission.asked_by,
            priority=submission.priority,
            client=client_of(submission),
        )
        result = staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)
        blobs.use(connection, decode_request(submission.request), result.submission_id)
        moves.follow(connection, submission.chain_id, submission.id, result.submission_id, to)

    def move_waiting(self, connection: Connection, submission: Submission, now_ms: int) -> bool:
        """Move an order that waits at an account to which nothing is sent now; True if it moved."""
        if (
            not client_of(submission)
            or submission.parent_id
            or submission.upstream not in moves.stopped(connection, now_ms)
        ):
            return False
        to = self._target(connection, submission, -1, now_ms)
        if not to:
            return False
        moved = submission_queue.move(
            connection,
            submission.id,
            by="withdraw",
            to="rejected",
            outcome=MOVED,
            reason=f"{submission.upstream} takes nothing now; {to} does it instead",
            run_at_ms=now_ms,
            now_ms=now_ms,
            attempts=submission.attempts,
        )
        if moved:
            charges.follow(connection, submission.id)
            self.move(connection, submission, to, now_ms)
        return moved

    def _target(self, connection: Connection, submission: Submission, attempt: int, now_ms: int) -> str:
        if not moves.is_clear(connection, submission.id, attempt):
            return ""
        pool = pool_of(self._named(client_of(submission)), self._pools, list(self._dialects))
        stopped, tried = moves.stopped(connection, now_ms), moves.tried(connection, submission.chain_id)
        for name in pool.upstreams:
            if (
                name in self._dialects
                and name not in stopped
                and name not in tried
                and self._can_do(name, submission)
                and _serves_as_well(pool, submission.upstream, name)
            ):
                return name
        return ""

    def _can_do(self, name: str, submission: Submission) -> bool:
        try:
            wire.check(decode_request(submission.request), self._dialects[name])
        except InvalidRequest:
            return False
        return True


def _serves_as_well(pool: Pool, here: str, there: str) -> bool:
    """True if the other account works in all modes in which this one does: the mode of an order decides its price."""
    modes = pool.modes.get(here)
    return all(serves(pool, there, mode) for mode in modes) if modes is not None else there not in pool.modes
