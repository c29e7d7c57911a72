"""Settles attempts by their answer, or the lack of one. Later proof and a person's decision are in storage/submissions/proof.py.

The outcome of a submission, its tasks, and the event about it are written together. An answer that arrives after its submission
became uncertain, because its worker seemed to be gone, still counts: it is the best information there is.
Answers that arrive at the same moment are settled with the same statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges
from storage.driver import locks
from storage.duty import protocol
from storage.duty.duties import SUBMISSIONS
from storage.duty.held import Held
from storage.errors import LeaseLost
from storage.events import event_log
from storage.records import Submission, SubmissionState
from storage.submissions import children, sql
from storage.tasks import chains


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an attempt. `signal` None: the event has no signal; `run_at_ms` matters for the state "waiting".

    `excused`: the attempt does not count as a try. `code`: the code of the answer, as the upstream sent it. `retry_after_s`: how long the upstream asked hookchain to wait.
    """

    state: SubmissionState
    outcome: str
    reason: str
    task_ids: tuple[str, ...] = ()
    signal: str | None = None
    run_at_ms: int = 0
    http_status: int | None = None
    code: int | str | None = None
    answer: bytes = b""
    child_status: str = ""
    child_action: str = ""
    retry_after_s: float | None = None
    excused: bool = False


class Answered(msgspec.Struct, frozen=True):
    """An attempt at a submission, and how it ended."""

    submission: Submission
    settlement: Settlement

    @property
    def held(self) -> Held:
        """The attempt."""
        return Held(self.submission.id, self.submission.attempts)


By = Literal["settle", "give_back"]


def settle_attempt(
    connection: Connection, submission: Submission, settlement: Settlement, now_ms: int, *, by: By = "settle"
) -> None:
    """Record the outcome of one attempt: see `settle_all`. Raises `LeaseLost` if it is no longer the current one."""
    (lost,) = settle_all(connection, [Answered(submission, settlement)], now_ms, by=by)
    if lost is not None:
        raise lost


def settle_all(
    connection: Connection, answered: Sequence[Answered], now_ms: int, *, by: By = "settle"
) -> list[LeaseLost | None]:
    """Record the outcomes of attempts at different submissions, their tasks, and the answers as events, all together.

    An attempt without a clear answer, or one that would be repeated, is accepted anyway if a task with its mark has called back
    already. A task named in the answer to an earlier attempt does not count: it was a modal that was deleted.
    Returns `LeaseLost` for an attempt that has ended before, and writes nothing for it. Raises `LeaseLost` if one is no longer the
    current one of its submission, so that all must be rolled back.
    """
    if len({one.submission.id for one in answered}) < len(
        answered
    ):  # attempts at one submission end one by one
        return [result for one in answered for result in settle_all(connection, [one], now_ms, by=by)]
    locks.submissions(connection, [one.submission.id for one in answered])
    answered = [_with_known_tasks(connection, one) for one in answered]
    ended = _end_attempts(connection, answered, now_ms)
    current = [one for one in answered if one.submission.id in ended]
    finished = protocol.finish(
        connection, SUBMISSIONS, [_end_of(one) for one in current], by=by, now_ms=now_ms
    )
    for one in current:
        if one.submission.id not in finished:
            raise protocol.lost(SUBMISSIONS, one.held)
    children.tie_all(connection, [_made_by(one) for one in current], now_ms)
    for one in current:
        charges.follow(connection, one.submission.id)
    chains.set_roots(
        connection,
        [
            (one.submission.chain_id, one.settlement.task_ids[0])
            for one in current
            if not one.submission.parent_id and one.settlement.task_ids
        ],
    )
    events = [_event_of(one, one.settlement.signal, now_ms) for one in current if one.settlement.signal]
    if events:
        event_log.append(connection, *events)
    return [None if one.submission.id in ended else protocol.lost(SUBMISSIONS, one.held) for one in answered]


def _with_known_tasks(connection: Connection, answered: Answered) -> Answered:
    """The attempt; accepted if it has no clear answer, but a task that called back."""
    settlement = answered.settlement
    if settlement.state not in ("uncertain", "waiting"):
        return answered
    known = children.new(connection, answered.submission)
    if not known:
        return answered
    settlement = msgspec.structs.replace(
        settlement,
        state="accepted",
        task_ids=tuple(known),
        signal="submission.accepted",
        excused=False,
        reason=f"{settlement.reason}; but task {known[0]} carries its mark",
    )
    return msgspec.structs.replace(answered, settlement=settlement)


def _end_attempts(connection: Connection, answered: Sequence[Answered], now_ms: int) -> set[str]:
    """End the attempts; returns the ids of their submissions, without those that have ended: their settlement was committed before,
    but the confirmation of the commit was lost."""
    rows: list[dict[str, object]] = [
        {
            "submission_id": one.submission.id,
            "number": one.submission.attempts,
            "http_status": one.settlement.http_status,
            "outcome": one.settlement.outcome,
            "reason": one.settlement.reason,
            "answer": one.settlement.answer,
        }
        for one in answered
    ]
    return set(sql.FINISH_ATTEMPTS.all_of_rows(connection, rows, now_ms=now_ms)) if rows else set()


def _end_of(answered: Answered) -> protocol.End:
    settlement = answered.settlement
    return protocol.End(
        held=answered.held,
        to=settlement.state,
        excused=settlement.excused,
        run_at_ms=settlement.run_at_ms or answered.submission.run_at_ms,
        values={
            "outcome": settlement.outcome,
            "reason": settlement.reason,
            "task_ids": msgspec.json.encode(settlement.task_ids).decode(),
        },
    )


def _made_by(answered: Answered) -> children.Made:
    settlement = answered.settlement
    return children.Made(
        answered.submission, settlement.task_ids, settlement.child_status, settlement.child_action
    )


def _event_of(answered: Answered, signal: str, now_ms: int) -> event_log.NewEvent:
    submission, settlement = answered.submission, answered.settlement
    return event_log.fact(
        upstream=submission.upstream,
        task_id=settlement.task_ids[0] if settlement.task_ids else submission.parent_id,
        submission_id=submission.id,
        source="answer",
        signal=signal,
        action=settlement.child_action,
        status=settlement.outcome,
        detail=settlement.reason,
        payload=settlement.answer,
        now_ms=now_ms,
    )
