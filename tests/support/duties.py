"""Deliveries and submissions behind one interface, for tests of the protocol that both share.

Every row is made, claimed and ended by the real operations of storage; only `put` writes a state of its own choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection, Table, insert, select, update

from midjourney.decode import decode_task
from midjourney.requests import Imagine, Modal
from midjourney.types import Task
from storage import schema
from storage.deliveries import dead_deliveries, delivery_queue, endings, suspects
from storage.deliveries.endings import Ended
from storage.duty import held
from storage.duty.duties import DELIVERIES, SUBMISSIONS, Duty
from storage.duty.held import Held
from storage.events import event_log
from storage.records import Approval, ClaimedDelivery, Submission
from storage.submissions import (
    adoption,
    approvals,
    dead_submissions,
    decisions,
    interrupted,
    modals,
    proof,
    releases,
    settlements,
    staging,
    submission_queue,
)
from storage.submissions.settlements import Settlement
from storage.tasks import rows as tasks
from storage.workers import leases
from tests.support.staged import stage, wanted

Do = Callable[[], object]
"""One operation on one row."""


class Rows(Protocol):
    """Rows of one table of durable work."""

    duty: Duty
    late_endings_count: bool
    """Whether an attempt that was given back may end all the same, as long as nobody has begun the next one."""

    def add(self) -> Any:
        """A row that is due; its id."""

    def claim(self, worker: str, most: int) -> list[Any]:
        """What a worker takes."""

    def held(self, taken: Any) -> Held:
        """The attempt that a worker has taken."""

    def end(self, taken: Any, to: str) -> None:
        """End an attempt so. Raises `LeaseLost`."""

    def give_back(self, *, excused: bool) -> list[Any]:
        """Give back what workers without a lease hold; the ids. `excused`: nothing of it had begun in earnest."""

    def retry(self, id_: Any) -> bool:
        """A person retries it."""

    def drop(self, id_: Any) -> bool:
        """A person discards it."""

    def operation(self, by: str, to: str) -> tuple[Any, Do]:
        """A row that has had one attempt, and what makes such a move of it."""


def table_of(duty: Duty) -> Table:
    """Its table."""
    return schema.metadata.tables[duty.table]


def put(connection: Connection, duty: Duty, id_: Any, state: str) -> None:
    """Write a state, whatever the operations allow."""
    connection.execute(update(table_of(duty)).where(table_of(duty).c.id == id_).values(state=state))


def state_of(connection: Connection, duty: Duty, id_: Any) -> str:
    """The state of a row."""
    return str(
        connection.execute(select(table_of(duty).c.state).where(table_of(duty).c.id == id_)).scalar_one()
    )


def lives(connection: Connection, worker: str) -> None:
    """A worker has a lease that does not run out."""
    leases.enter(connection, worker)


class Deliveries:
    """Deliveries, each of an event of a task of its own."""

    duty = DELIVERIES
    late_endings_count = False

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.count = 0
        self.now_ms = 100

    def add(self) -> int:
        self.count += 1
        event_log.append(
            self.connection,
            event_log.fact(
                upstream="main",
                signal="task.succeeded",
                source="internal",
                task_id=f"t{self.count}",
                now_ms=1,
            ),
        )
        delivery_queue.fan_out(self.connection, lambda _event: ["plugin:a"], 100, 1)
        newest = select(schema.deliveries.c.id).order_by(schema.deliveries.c.id.desc()).limit(1)
        return int(self.connection.execute(newest).scalar_one())

    def claim(self, worker: str, most: int) -> list[ClaimedDelivery]:
        return delivery_queue.claim(self.connection, most, self.now_ms, room=lambda _name: 99, worker=worker)

    def held(self, taken: ClaimedDelivery) -> Held:
        return Held(taken.delivery.id, taken.delivery.attempts)

    def end(self, taken: ClaimedDelivery, to: Any) -> None:
        endings.end(self.connection, taken, Ended(state=to), refuse=lambda *_: "", now_ms=self.now_ms)

    def give_back(self, *, excused: bool = True) -> list[Any]:
        del excused  # a delivery that was given back never counts
        left = [row.id for row in held.left(self.connection, self.duty)]
        given_back = suspects.give_back(self.connection, {}, lambda _receiver: 0, self.now_ms)
        assert given_back.count == len(left)
        return left

    def retry(self, id_: int) -> bool:
        return dead_deliveries.retry(self.connection, [id_], self.now_ms) == 1

    def drop(self, id_: int) -> bool:
        return dead_deliveries.drop(self.connection, [id_], self.now_ms) == 1

    def operation(self, by: str, to: str) -> tuple[int, Do]:
        id_ = self.add()
        (taken,) = self.claim("gone", 1)
        operations: dict[str, Do] = {
            "claim": lambda: self.claim("another", 9),
            "end": lambda: self.end(taken, to),
            "give_back": self.give_back,
            "retry": lambda: self.retry(id_),
            "drop": lambda: self.drop(id_),
        }
        return id_, operations[by]

    def made(self, by: str, to: str) -> int:
        """A row that an operation makes."""
        del by, to  # there is one way
        return self.add()


def task(task_id: str, status: str = "SUCCESS") -> Task:
    """A task as an upstream shows it."""
    return decode_task(json.dumps({"id": task_id, "status": status, "action": "IMAGINE"}).encode())


def approval(id_: str, now_ms: int) -> Approval:
    """An open approval, for a second."""
    return Approval(
        id=id_,
        asked_by="rule:r",
        chain_id="c",
        upstream="main",
        task_id="grid",
        event_id=1,
        state="open",
        otherwise="drop",
        asked_at_ms=now_ms,
        expires_at_ms=now_ms + 1000,
        decided_at_ms=None,
        decided_by="",
        decided_from="",
    )


class Submissions:
    """Submissions, each of a chain of its own."""

    duty = SUBMISSIONS
    late_endings_count = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.count = 0
        self.now_ms = 100

    def add(self, request: Imagine | Modal | None = None) -> str:
        self.count += 1
        return stage(self.connection, wanted(f"k{self.count}", request)).submission_id

    def claim(self, worker: str, most: int) -> list[Submission]:
        return submission_queue.begin_attempts(self.connection, "main", most, self.now_ms, worker=worker)

    def held(self, taken: Submission) -> Held:
        return Held(taken.id, taken.attempts)

    def end(self, taken: Submission, to: Any) -> None:
        settlement = Settlement(state=to, outcome="test", reason="", run_at_ms=self.now_ms)
        settlements.settle_attempt(self.connection, taken, settlement, self.now_ms)

    def give_back(self, *, excused: bool = False) -> list[Any]:
        left = [held.attempt_of(row) for row in held.left(self.connection, self.duty)]
        uncertain = interrupted.give_back(self.connection, left, self.now_ms, lambda _one: not excused)
        assert uncertain == (0 if excused else len(left))
        return [one.id for one in left]

    def retry(self, id_: str) -> bool:
        return dead_submissions.retry(self.connection, [id_], self.now_ms) == 1

    def drop(self, id_: str) -> bool:
        return dead_submissions.drop(self.connection, [id_], self.now_ms) == 1

    def operation(self, by: str, to: str) -> tuple[str, Do]:
        id_ = self.add(Modal(task_id="modal", prompt="p") if by == "adopt_answer" else None)
        (taken,) = self.claim("gone", 1)
        operations: dict[str, Do] = {
            "claim": lambda: self.claim("another", 9),
            "settle": lambda: self.end(taken, to),
            "give_back": lambda: self._interrupt(taken, to),
            "prove": lambda: proof.prove(self.connection, taken, "its-task", self.now_ms),
            "disprove": lambda: self._move(id_, by, to),
            "settle_by_hand": lambda: proof.settle_by_hand(
                self.connection, taken, accepted=to == "accepted", task_id="", now_ms=self.now_ms
            ),
            "repeat": lambda: self._lose_modal(taken, to),
            "adopt": lambda: self._adopt(id_, task("its-task")),
            "adopt_answer": lambda: self._adopt_answer(taken),
            "retry": lambda: self.retry(id_),
            "limit": lambda: self._move(id_, by, to),
            "withdraw": lambda: self._move(id_, by, to),
            "drop": lambda: self.drop(id_),
            "release": lambda: releases.release(self.connection, id_, self.now_ms, by="person:test"),
            "approve": lambda: self._approve(id_, to),
            "decline": lambda: self._decide(id_, "dropped"),
            "take_over": lambda: releases.take_over(self.connection, id_, self.now_ms, by="person:test"),
        }
        return id_, operations[by]

    def _move(self, id_: str, by: str, to: Any) -> bool:
        return submission_queue.move(
            self.connection, id_, by=by, to=to, reason="", run_at_ms=self.now_ms, now_ms=self.now_ms
        )

    def _approve(self, id_: str, to: str) -> None:
        if to == "existed":
            self._press_elsewhere()
            press = {"idempotency_key": "k|0", "kind": "action", "label": "U1", "parent_id": "grid"}
            self.connection.execute(
                update(schema.submissions).where(schema.submissions.c.id == id_).values(press)
            )
        self._decide(id_, "released")

    def _press_elsewhere(self) -> None:
        """Another client has pressed U1 of the grid."""
        values = {"upstream": "main", "id": "child", "status": "SUCCESS", "progress": 100, "action": "",
                  "parent_id": "grid", "depth": 0, "created_at_ms": 1, "updated_at_ms": 1, "misses": 0,
                  "made_by": "U1", "confirmed": True}  # fmt: skip
        self.connection.execute(insert(schema.tasks).values(values))

    def _decide(self, id_: str, verdict: decisions.Verdict) -> None:
        approvals.open_all(self.connection, [approval(f"of-{id_}", self.now_ms)])
        changed = update(schema.submissions).where(schema.submissions.c.id == id_)
        self.connection.execute(changed.values(approval_id=f"of-{id_}"))
        decided = decisions.decide(
            self.connection, f"of-{id_}", verdict, by="test", source="api", now_ms=self.now_ms
        )
        assert decided is not None
        assert decided.counts

    def _interrupt(self, taken: Submission, to: str) -> None:
        if to == "accepted":
            self._make_task(taken, "its-task")
        interrupted.give_back(self.connection, [self.held(taken)], self.now_ms, lambda _one: to != "waiting")

    def _make_task(self, taken: Submission, task_id: str, status: str = "SUBMITTED") -> None:
        row = tasks.hold(self.connection, "main", [task_id], 1).get(task_id) or tasks.blank(
            "main", task_id, 1
        )
        changed = {"submission_id": taken.id, "chain_id": taken.chain_id, "status": status}
        tasks.put(self.connection, type(row)(**{n: getattr(row, n) for n in row.__struct_fields__} | changed))

    def _lose_modal(self, taken: Submission, to: str) -> None:
        self._make_task(taken, "modal", "MODAL")
        stage(self.connection, wanted("answer", Modal(task_id="modal", prompt="p"), priority=1))
        (modal,) = self.claim("another", 1)
        full = Settlement(state="waiting", outcome="rejected:queue_full", reason="code 23")
        most = 9 if to == "waiting" else 0
        modals.repeat_action(self.connection, modal, full, self.now_ms, delay_ms=lambda _tries: 5, most=most)

    def _adopt(self, mark: str, shown: Task) -> None:
        found = adoption.MarkedTask(mark=mark, task=shown, staged=wanted("found"))
        adoption.adopt(self.connection, "main", [found], self.now_ms)

    def _adopt_answer(self, taken: Submission) -> None:
        window = tasks.blank("main", "modal", 1)
        fields = {n: getattr(window, n) for n in window.__struct_fields__}
        tasks.put(self.connection, type(window)(**fields | {"status": "MODAL"}))
        answer = wanted(taken.idempotency_key, Modal(task_id="modal", prompt="p"))
        adoption.adopt_answers(self.connection, "main", [answer], self.now_ms)

    def made(self, by: str, to: str) -> str:
        """A row that an operation makes."""
        if by == "restore":
            self._adopt("a-mark", task("its-task", "MODAL" if to == "needs_modal" else "SUCCESS"))
            return "a-mark"
        if to == "existed":
            self._press_elsewhere()
        asked = wanted("k|0", kind="action", label="U1", parent_id="grid", asked_by="rule:r")
        if to == "held":
            asked = wanted("k|0", asked_by="rule:r", approval_id="of-k")
        refuse = "no" if to == "refused" else ""
        return staging.stage(
            self.connection, asked, refuse=lambda *_: refuse, now_ms=self.now_ms
        ).submission_id
