"""Adopts submissions of ours that the upstream shows, but that this database lacks or considers unsent.

This happens after a copy of the database was restored. Each such task carries one of our marks, and its submission is stored as
accepted. The same intent has the same mark (storage/tasks/marks.py), so it is recognised when it is staged again, and never sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from midjourney.types import Status, Task
from storage.budgets import charges
from storage.driver import locks
from storage.duty.states import SUBMISSION
from storage.events import event_log
from storage.records import Staged, StageResult, Submission
from storage.submissions import approvals
from storage.submissions import sql_evidence as sql
from storage.submissions.children import placed
from storage.submissions.submission_queue import find, move
from storage.tasks import aliases, chains, history, marks
from storage.tasks import rows as tasks

REASON = "the upstream shows its task: it was sent before a copy of the database was restored"


class MarkedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task with one of our marks. `staged` is its submission, as far as the task shows it: the key is "" if unknown, and the
    chain and depth are not filled in."""

    mark: str
    task: Task
    staged: Staged


class Adopted(msgspec.Struct, frozen=True):
    """How many submissions the database lacked, and how many it considered unsent."""

    lacked: int = 0
    unsent: int = 0

    @property
    def total(self) -> int:
        """The number of submissions whose sending the database did not know."""
        return self.lacked + self.unsent


def adopted_key(upstream: str, mark: str) -> str:
    """The idempotency key of a submission of which only the mark is known."""
    return f"{upstream}|adopted|{mark}|0"


def recognise(connection: Connection, staged: Staged, submission_id: str) -> StageResult:
    """Give a submission that was adopted by its mark alone the details of this intent, so that nothing is sent."""
    known = find(connection, submission_id)
    assert known is not None, "the caller found it by its key"
    chain_id = staged.chain_id or known.chain_id
    values = msgspec.structs.asdict(staged) | {"submission_id": submission_id, "chain_id": chain_id}
    sql.RECOGNISE(connection, **values)
    sql.PLACE_TASKS(connection, **values)
    if staged.chain_id:
        chains.count_submission(connection, staged.chain_id, by_hand=staged.is_by_hand)
    return StageResult(submission_id=submission_id, chain_id=chain_id, created=False)


def adopt(connection: Connection, upstream: str, marked: Sequence[MarkedTask], now_ms: int) -> Adopted:
    """Store the submissions that the database lacks, parents first, and correct those that it considers unsent."""
    spent = set(sql.SPENT.all(connection, marks=[shown.mark for shown in marked])) if marked else set()
    lacked = unsent = 0
    for shown in sorted(marked, key=lambda shown: shown.task.submit_time_ms or 0):
        known = find(connection, shown.mark)
        if known is not None:
            unsent += known.upstream == upstream and _take_for_sent(connection, known, shown.task, now_ms)
        elif shown.mark not in spent and not _has_submission(connection, upstream, shown):
            _make(connection, shown, now_ms)
            lacked += 1
    return Adopted(lacked, unsent)


def _has_submission(connection: Connection, upstream: str, shown: MarkedTask) -> bool:
    row = tasks.find(connection, upstream, shown.task.id)
    return row is not None and row.submission_id is not None


def adopt_answers(connection: Connection, upstream: str, answers: Sequence[Staged], now_ms: int) -> int:
    """Record modals as answered that wait here, but that the upstream shows as answered; returns their number."""
    rows = tasks.find_all(connection, upstream, [staged.parent_id for staged in answers]) if answers else {}
    done = 0
    for staged in answers:
        row = rows.get(staged.parent_id)
        if row is None or row.status != Status.MODAL:
            continue
        submission_id = sql.OF_KEY.first(connection, key=staged.idempotency_key)
        known = find(connection, submission_id) if submission_id else None
        if known is not None:
            done += move(
                connection,
                known.id,
                by="adopt_answer",
                to="accepted",
                outcome="accepted",
                reason=REASON,
                run_at_ms=now_ms,
                now_ms=now_ms,
            )
            charges.follow(connection, known.id)
            approvals.close_if_empty(connection, known.id, now_ms, by="", source="upstream")
            continue
        placed_in = msgspec.structs.replace(staged, chain_id=row.chain_id or "", depth=row.depth)
        if placed_in.chain_id:
            mark = marks.of_intent(connection, upstream, staged.idempotency_key)
            done += sql.ADOPT(connection, **_values(placed_in, mark, row.id, "accepted", now_ms))
            chains.count_submission(connection, placed_in.chain_id, by_hand=staged.is_by_hand)
    return done


def _take_for_sent(connection: Connection, known: Submission, task: Task, now_ms: int) -> bool:
    """Accept a submission that made this task long ago, but waits here to be sent or released, or was taken for another
    client's press before the upstream showed marks. True if it was one of these."""
    if task.id in known.task_ids and known.state != "existed":
        return False
    locks.submissions(connection, [known.id])
    if not move(
        connection,
        known.id,
        by="adopt",
        to="accepted",
        outcome="accepted",
        reason=REASON,
        run_at_ms=now_ms,
        now_ms=now_ms,
    ):
        return False
    ids = msgspec.json.encode(tuple(dict.fromkeys((*known.task_ids, task.id)))).decode()
    sql.SET_TASKS(connection, submission_id=known.id, task_ids=ids)
    _tie(connection, known, task, now_ms)
    charges.follow(connection, known.id)
    approvals.close_if_empty(connection, known.id, now_ms, by="", source="upstream")
    return True


def _make(connection: Connection, shown: MarkedTask, now_ms: int) -> None:
    staged = _with_place(connection, shown.staged, shown.task, now_ms)
    state = "needs_modal" if shown.task.status == Status.MODAL else "accepted"
    values = _values(staged, shown.mark, shown.task.id, state, shown.task.submit_time_ms or now_ms)
    by_mark = {"idempotency_key": adopted_key(staged.upstream, shown.mark), "thing": ""}
    if not staged.idempotency_key or not sql.ADOPT(connection, **values):
        sql.ADOPT(connection, **values | by_mark)  # its key is unknown, or has been used since
    chains.count_submission(connection, staged.chain_id, by_hand=staged.is_by_hand)
    known = find(connection, shown.mark)
    assert known is not None, "it was inserted just now"
    _tie(connection, known, shown.task, now_ms)


def _with_place(connection: Connection, staged: Staged, task: Task, now_ms: int) -> Staged:
    """The submission with its chain and depth below its parent; with a new chain if it has no parent."""
    parent = tasks.find(connection, staged.upstream, staged.parent_id) if staged.parent_id else None
    if parent is None:
        chain = chains.create(connection, staged.upstream, task.id, now_ms, prompt=task.prompt)
        return msgspec.structs.replace(staged, chain_id=chain.id, depth=0)
    chain_id, depth = chains.adopt(connection, staged.upstream, parent.id, parent.parent_id, now_ms)
    return msgspec.structs.replace(staged, chain_id=chain_id, depth=depth + 1)


def _tie(connection: Connection, submission: Submission, task: Task, now_ms: int) -> None:
    """Give the task its place in the chain. An unknown task is stored as the upstream shows it, and receivers do not get it."""
    task_id = aliases.names(connection, submission.upstream, [task.id]).get(task.id, task.id)
    row = tasks.hold(connection, submission.upstream, [task_id], now_ms).get(task_id)
    if row is None or not row.status:
        shown = msgspec.structs.replace(task, id=task_id)
        row = history.row_of(submission.upstream, shown, now_ms)
        new = history.event_of(submission.upstream, shown, now_ms, submission_id=submission.id)
        event_log.append(connection, new)
    if row.submission_id is None:
        row = placed(row, submission)
    tasks.put(connection, row)
    if not submission.parent_id:
        chains.set_root(connection, submission.chain_id, task_id)


def _values(staged: Staged, mark: str, task_id: str, state: str, sent_at_ms: int) -> dict[str, object]:
    return msgspec.structs.asdict(staged) | {
        "mark": mark,
        "state": SUBMISSION.new("restore", state),
        "reason": REASON,
        "task_ids": msgspec.json.encode([task_id]).decode(),
        "sent_at_ms": sent_at_ms,
    }
