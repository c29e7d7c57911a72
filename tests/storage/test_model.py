"""Storage against a model of a few dicts, under any interleaving: duplicate, reordered and late events, crashes, slow
workers, repeated intents."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Table, select

from midjourney.decode import decode_task
from storage import schema
from storage.deliveries import delivery_queue, endings, suspects
from storage.duty import held
from storage.duty.duties import SUBMISSIONS
from storage.engine import write_engine
from storage.errors import LeaseLost
from storage.ingest import ingest
from storage.records import ALL_SIGNALS, ClaimedDelivery, Incoming, Staged, Submission
from storage.submissions import interrupted, proof, settlements, submission_queue
from storage.tasks import chains
from tests.support.postgres import empty

TASKS, INTENTS = ["t1", "t2", "t3"], ["press U1", "press U2", "press U3"]
STATES = ["NOT_START", "SUBMITTED", "IN_PROGRESS", "SUCCESS", "FAILURE", "CANCEL"]
RANK = {"": -1, "NOT_START": 0, "SUBMITTED": 1, "IN_PROGRESS": 2, "SUCCESS": 3, "FAILURE": 3, "CANCEL": 3}
SIGNALS = {
    "SUBMITTED": "task.submitted",
    "IN_PROGRESS": "task.started",
    "SUCCESS": "task.succeeded",
    "FAILURE": "task.failed",
    "CANCEL": "task.cancelled",
}
ENDS = {"task.succeeded", "task.failed", "task.cancelled"}
LISTENING = {"hears-all": set(SIGNALS.values()) | {"task.progressed"}, "hears-ends": ENDS}


def route(event: Any) -> list[str]:
    return [name for name, signals in LISTENING.items() if event.signal in signals]


class Storage(RuleBasedStateMachine):
    """One database, one worker at a time, and what must be true of them."""

    postgres_url = ""
    """Of an empty database; without one it is a copy of `empty_file`."""
    empty_file: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        if self.postgres_url:
            empty(self.postgres_url)
        else:
            shutil.copy(self.empty_file, self.directory.name)
        url = self.postgres_url or f"sqlite:///{self.directory.name}/{self.empty_file.name}"
        self.engine = write_engine(url)
        self.connection = self.engine.connect()
        self.now_ms = 1_000
        self.posted = 0
        self.tasks: dict[str, tuple[str, int]] = {}
        self.expected: dict[tuple[str, str], list[str]] = {}
        self.heard: dict[tuple[str, str], list[str]] = {}
        self.running: list[ClaimedDelivery] = []
        self.slow: list[ClaimedDelivery] = []
        self.sending: list[Submission] = []
        self.cut_off: list[Submission] = []
        self.asked: set[str] = set()
        self.accepted: dict[str, str] = {}
        self.sent: dict[str, int] = {}

    def teardown(self) -> None:
        self.connection.close()
        self.engine.dispose()
        self.directory.cleanup()

    @initialize()
    def a_chain(self) -> None:
        """All three tasks are of chains that are known, so that none waits to learn whose child it is."""
        for task_id in TASKS:
            self.post(task_id, "NOT_START", 0)
        self.fan_out()
        with self.connection.begin():
            for task_id in TASKS:
                chains.adopt(self.connection, "main", task_id, "", self.now_ms)

    @rule(task_id=st.sampled_from(TASKS), status=st.sampled_from(STATES), progress=st.integers(0, 3))
    def post(self, task_id: str, status: str, progress: int) -> None:
        """A callback, in whatever order."""
        self.tick()
        percent = 25 * progress if status == "IN_PROGRESS" else 0
        body = {"id": task_id, "status": status, "progress": f"{percent}%", "action": "IMAGINE"}
        incoming = Incoming(
            upstream="main",
            task=decode_task(json.dumps(body).encode()),
            submission_id="",
            source="callback",
            received_at_ms=self.now_ms,
        )
        with self.connection.begin():
            ingest(self.connection, [incoming], ALL_SIGNALS)
        self.posted += 1
        known, known_percent = self.tasks.get(task_id, ("", -1))
        signal = None
        if RANK[known] < 3 and RANK[status] > RANK[known]:
            self.tasks[task_id] = (status, percent)
            signal = SIGNALS.get(status)
        elif known == status == "IN_PROGRESS" and percent > known_percent:
            self.tasks[task_id] = (status, percent)
            signal = "task.progressed"
        for name, signals in LISTENING.items():
            if signal in signals:
                self.expected.setdefault((name, task_id), []).append(str(signal))

    @rule()
    def fan_out(self) -> None:
        self.tick()
        with self.connection.begin():
            delivery_queue.fan_out(self.connection, route, 5, self.now_ms)

    @rule(most=st.integers(1, 4))
    def claim(self, most: int) -> None:
        """Each is the next of its receiver and task, and nobody else has it."""
        self.tick()
        with self.connection.begin():
            claimed = delivery_queue.claim(self.connection, most, self.now_ms, room=lambda _name: 9)
        taken = {(one.delivery.receiver, one.event.task_id) for one in self.running}
        for one in claimed:
            lane = (one.delivery.receiver, one.event.task_id)
            assert lane not in taken
            taken.add(lane)
            heard = self.heard.setdefault(lane, [])
            assert self.expected[lane][len(heard)] == one.event.signal
        self.running += claimed

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        wanted=st.sets(st.sampled_from(INTENTS)),
        how=st.sampled_from(["done", "again", "dead"]),
    )
    def finish(self, data: st.DataObject, wanted: set[str], how: Any) -> None:
        """What a receiver asked for is kept with "done", or not at all."""
        self.tick()
        one = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        asked = sorted(wanted) if how == "done" else []
        staged = tuple(self.intent(key, one) for key in asked)
        state = {"done": "done", "again": "waiting", "dead": "dead"}[how]
        with self.connection.begin():
            self.end(one, endings.Ended(state=state, staged=staged, run_at_ms=self.now_ms))  # type: ignore[arg-type]  # a literal of three
        self.asked |= set(asked)
        if how != "again":
            self.heard[one.delivery.receiver, one.event.task_id].append(str(one.event.signal))

    @precondition(lambda self: self.slow)
    @rule(data=st.data(), wanted=st.sets(st.sampled_from(["press U9"]), min_size=1))
    def finish_too_late(self, data: st.DataObject, wanted: set[str]) -> None:
        """A worker that was given up finishes: nothing of it counts, and nothing it asked for is kept."""
        one = self.slow.pop(data.draw(st.integers(0, len(self.slow) - 1)))
        staged = tuple(self.intent(key, one) for key in sorted(wanted))
        with pytest.raises(LeaseLost), self.connection.begin():
            self.end(one, endings.Ended(state="done", staged=staged))

    @rule(most=st.integers(1, 3))
    def send(self, most: int) -> None:
        """What was accepted is never sent again."""
        self.tick()
        with self.connection.begin():
            begun = submission_queue.begin_attempts(self.connection, "main", most, self.now_ms)
        for one in begun:
            assert one.idempotency_key not in self.accepted
            assert one.idempotency_key not in {other.idempotency_key for other in self.sending}
            self.sent[one.idempotency_key] = one.attempts
        self.sending += begun

    @precondition(lambda self: self.sending)
    @rule(data=st.data(), outcome=st.sampled_from(["accepted", "waiting", "uncertain"]))
    def answer(self, data: st.DataObject, outcome: Any) -> None:
        self.tick()
        one = self.sending.pop(data.draw(st.integers(0, len(self.sending) - 1)))
        ids = (f"child of {one.idempotency_key}",) if outcome == "accepted" else ()
        settlement = settlements.Settlement(state=outcome, outcome=outcome, reason="", task_ids=ids)
        with self.connection.begin():
            settlements.settle_attempt(self.connection, one, settlement, self.now_ms)
        if outcome == "accepted":
            self.accepted[one.idempotency_key] = one.id

    @precondition(lambda self: self.cut_off)
    @rule(data=st.data())
    def answer_too_late(self, data: st.DataObject) -> None:
        """The answer to a request of a process that was given up counts, unless it is settled, or sent again by now."""
        one = self.cut_off.pop(data.draw(st.integers(0, len(self.cut_off) - 1)))
        key = one.idempotency_key
        ids = (f"child of {key}",)
        settlement = settlements.Settlement(state="accepted", outcome="accepted", reason="", task_ids=ids)
        counts = self.sent[key] == one.attempts and key not in self.accepted
        with nullcontext() if counts else pytest.raises(LeaseLost), self.connection.begin():
            settlements.settle_attempt(self.connection, one, settlement, self.now_ms)
        if counts:
            self.accepted[key] = one.id

    @rule(proven=st.booleans())
    def evidence(self, proven: bool) -> None:
        """The oldest uncertain submission is found, or shown never to have been taken."""
        self.tick()
        with self.connection.begin():
            for one in submission_queue.in_state(self.connection, "uncertain", most=1):
                if proven:
                    proof.prove(self.connection, one, f"child of {one.idempotency_key}", self.now_ms)
                    self.accepted[one.idempotency_key] = one.id
                else:
                    submission_queue.move(
                        self.connection,
                        one.id,
                        by="disprove",
                        to="waiting",
                        reason="",
                        run_at_ms=self.now_ms,
                        now_ms=self.now_ms,
                    )

    @rule()
    def crash(self) -> None:
        """The process is gone; the next one gives back what ran, and makes what was being sent uncertain."""
        self.tick()
        with self.connection.begin():
            suspects.give_back(self.connection, {}, lambda _receiver: 0, self.now_ms)
            sending = [held.attempt_of(row) for row in held.left(self.connection, SUBMISSIONS)]
            interrupted.give_back(self.connection, sending, self.now_ms)
        self.slow, self.running = self.running, []
        self.cut_off, self.sending = self.sending, []

    @invariant()
    def tasks_are_where_the_model_says(self) -> None:
        """Forward only, whatever came."""
        found = {
            row.id: (row.status, max(row.progress, 0)) for row in self.rows(schema.tasks) if row.id in TASKS
        }
        assert found == {key: (status, percent) for key, (status, percent) in self.tasks.items()}

    @invariant()
    def every_callback_is_kept(self) -> None:
        assert sum(row.source == "callback" for row in self.rows(schema.events)) == self.posted

    @invariant()
    def a_task_ends_once(self) -> None:
        ends = [row.task_id for row in self.rows(schema.events) if row.signal in ENDS]
        assert len(ends) == len(set(ends))

    @invariant()
    def an_intent_has_one_submission(self) -> None:
        keys = [row.idempotency_key for row in self.rows(schema.submissions)]
        assert sorted(keys) == sorted(self.asked)
        counted = [row.submissions for row in self.rows(schema.chains)]
        assert sum(counted) == len(keys)

    @invariant()
    def a_receiver_hears_in_order(self) -> None:
        for lane, heard in self.heard.items():
            assert self.expected[lane][: len(heard)] == heard

    def tick(self) -> None:
        self.now_ms += 1

    def rows(self, table: Table) -> list[Any]:
        with self.connection.begin():
            return list(self.connection.execute(select(table)))

    def intent(self, key: str, one: ClaimedDelivery) -> Staged:
        assert one.chain is not None
        return Staged(
            idempotency_key=key,
            chain_id=one.chain.id,
            upstream="main",
            kind="action",
            label=key,
            request=b"{}",
            parent_id=one.event.task_id,
            depth=1,
            asked_by=one.delivery.receiver,
        )

    def end(self, one: ClaimedDelivery, ending: endings.Ended) -> None:
        endings.end(self.connection, one, ending, refuse=lambda _use, _staged: "", now_ms=self.now_ms)


def model(examples: int, steps: int) -> type:
    """The machine as a test of so many runs of so many steps."""
    case: Any = type("Case", (Storage.TestCase,), {})
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    return case  # type: ignore[no-any-return]  # made by Hypothesis


@pytest.fixture(scope="class", autouse=True)
def on_sqlite(new_file: Path) -> None:
    """The machine works on copies of a file."""
    Storage.empty_file = new_file


@pytest.fixture(scope="class")
def on_postgres(postgres_template: str) -> Iterator[None]:
    """The machine works on PostgreSQL."""
    Storage.postgres_url = postgres_template
    yield
    Storage.postgres_url = ""


TestStorageAgreesWithTheModel = model(40, 40)
TestPostgresAgreesWithTheModel = pytest.mark.usefixtures("on_postgres")(model(10, 40))
TestStorageAgreesWithTheModelForLong = pytest.mark.soak(model(2000, 80))
