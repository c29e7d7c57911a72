"""chain.rested against a model of a few dicts: whatever is pressed, ended, delivered and rolled back in whatever order, it is given once
for each quiet period."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection, func, select

from midjourney.decode import decode_task
from midjourney.requests import Action
from storage import schema
from storage.deliveries import delivery_queue, endings
from storage.engine import write_engine
from storage.events import event_log
from storage.ingest import ingest
from storage.joins import looking
from storage.records import JOINED, JOINS, RESTED, Incoming, PendingEvent
from storage.submissions import settlements, submission_queue
from tests.support.postgres import empty
from tests.support.staged import stage, wanted

WANTED = JOINED | JOINS


def route(event: PendingEvent) -> list[str]:
    """One rule hears the ends and the rests; an effect hears the ends, and is never run."""
    if event.signal in JOINED:
        return ["rule:r", "rule:r/forward"]
    return ["rule:r"] if event.signal == RESTED else []


def may_request(receiver: str) -> bool:
    return receiver == "rule:r"


def end_task(connection: Connection, task_id: str, status: str, now_ms: int, submission_id: str = "") -> None:
    """A callback of an upstream that is trusted."""
    body = {"id": task_id, "status": status, "action": "UPSCALE", "progress": "100%"}
    incoming = Incoming(
        upstream="main",
        task=decode_task(json.dumps(body).encode()),
        submission_id=submission_id,
        source="callback",
        received_at_ms=now_ms,
    )
    ingest(connection, [incoming], WANTED, trusted=("main",))


class Press(msgspec.Struct):
    """A submission in the model: whether it follows from a rest, its state, and the status of its task."""

    follows: bool
    state: str = "waiting"
    status: str = ""

    @property
    def is_open(self) -> bool:
        return self.state == "waiting" or (self.state == "accepted" and not self.status)


class Crashed(Exception):
    """The process died before the commit."""


class Periods(RuleBasedStateMachine):
    """One chain: people and a rule press, tasks end, and any transaction may be lost."""

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
        self.engine = write_engine(
            self.postgres_url or f"sqlite:///{self.directory.name}/{self.empty_file.name}"
        )
        self.connection = self.engine.connect()
        self.now_ms = 1_000
        self.presses: dict[str, Press] = {}
        self.pending: list[tuple[str, bool]] = []
        self.waiting: list[tuple[str, bool]] = []
        self.is_marked = False
        self.given = 0
        self.shown: frozenset[Any] = frozenset()
        self.chain_id = ""

    def teardown(self) -> None:
        self.connection.close()
        self.engine.dispose()
        self.directory.cleanup()

    @contextlib.contextmanager
    def commit(self, crash: bool) -> Iterator[Connection]:
        """A transaction, which is lost if the process dies."""
        self.now_ms += 1
        with contextlib.suppress(Crashed), self.connection.begin():
            yield self.connection
            if crash:
                raise Crashed

    @initialize()
    def a_prompt(self) -> None:
        with self.commit(False) as connection:
            made = stage(connection, wanted("root"), self.now_ms)
        self.chain_id = made.chain_id
        self.presses[made.submission_id] = Press(follows=False)

    @rule(crash=st.booleans(), times=st.integers(1, 3))
    def a_person_presses(self, crash: bool, times: int) -> None:
        with self.commit(crash) as connection:
            keys = [f"by hand {self.now_ms} {number}" for number in range(times)]
            made = [stage(connection, self._press(key), self.now_ms) for key in keys]
        if not crash:
            self.presses |= {one.submission_id: Press(follows=False) for one in made}

    @rule(crash=st.booleans(), accepted=st.booleans())
    def send(self, crash: bool, accepted: bool) -> None:
        """The oldest one that waits leaves, and is answered."""
        with self.commit(crash) as connection:
            begun = submission_queue.begin_attempts(connection, "main", 1, self.now_ms)
            for one in begun:
                settlements.settle_attempt(
                    connection,
                    one,
                    settlements.Settlement(
                        state="accepted" if accepted else "rejected",
                        outcome="",
                        reason="",
                        task_ids=(f"task of {one.id}",) if accepted else (),
                        signal="submission.accepted" if accepted else "submission.rejected",
                    ),
                    self.now_ms,
                )
        if not crash:
            for one in begun:
                press = self.presses[one.id]
                press.state = "accepted" if accepted else "rejected"
                self.pending.append((f"submission.{press.state}", press.follows))

    @rule(crash=st.booleans(), data=st.data(), status=st.sampled_from(["SUCCESS", "FAILURE"]))
    def a_task_ends(self, crash: bool, data: st.DataObject, status: str) -> None:
        """Perhaps not for the first time: then it is no news."""
        made = [name for name, press in self.presses.items() if press.state == "accepted"]
        if not made:
            return
        self._end(data.draw(st.sampled_from(made)), crash, status)

    def _end(self, name: str, crash: bool, status: str) -> None:
        with self.commit(crash) as connection:
            end_task(connection, f"task of {name}", status, self.now_ms)
        press = self.presses[name]
        if not crash and not press.status:
            press.status = status
            self.pending.append(("task.succeeded" if status == "SUCCESS" else "task.failed", press.follows))

    @rule(crash=st.booleans())
    def fan_out(self, crash: bool) -> None:
        with self.commit(crash) as connection:
            delivery_queue.fan_out(connection, route, 200, self.now_ms, joins=JOINS)
        if not crash:
            self.is_marked |= any(signal != RESTED and not follows for signal, follows in self.pending)
            self.waiting += [one for one in self.pending if one[0] in JOINED | {RESTED}]
            self.pending = []

    @rule(crash=st.booleans(), requests=st.booleans())
    def deliver(self, crash: bool, requests: bool) -> None:
        """The rule hears of the oldest event that it has not heard of, and may press."""
        with self.commit(crash) as connection:
            claimed = delivery_queue.claim(
                connection, 1, self.now_ms, room=lambda name: 9 if may_request(name) else 0
            )
            for one in claimed:
                press = self._press(f"by a rule {self.now_ms}", asked_by="rule:r")
                staged = (press,) if requests else ()
                ending = endings.Ended(state="done", staged=staged)
                endings.end(connection, one, ending, refuse=lambda *_: "", now_ms=self.now_ms)
        if not crash:
            for one in claimed:
                heard = next(
                    heard
                    for heard in self.waiting
                    if heard[0] == one.event.signal and heard[1] == bool(one.follows)
                )
                self.waiting.remove(heard)
                if requests:
                    key = press.idempotency_key
                    name = self.connection.execute(
                        select(schema.submissions.c.id).where(schema.submissions.c.idempotency_key == key)
                    ).scalar_one()
                    self.connection.rollback()
                    self.presses[name] = Press(follows=heard[1] or heard[0] == RESTED)

    @rule(crash=st.booleans())
    def look(self, crash: bool) -> None:
        with self.commit(crash) as connection:
            looking.look(connection, {RESTED}, may_request, self.now_ms, at_once=[self.chain_id])
        if crash or not self.is_marked or not self._is_at_rest():
            return
        self.is_marked = False
        counted = frozenset(
            (name, press.state, press.status) for name, press in self.presses.items() if not press.follows
        )
        if counted != self.shown:
            self.given += 1
            self.shown = counted
            self.pending.append((RESTED, False))

    @rule(data=st.data())
    def buttons_come_late(self, data: st.DataObject) -> None:
        """The signal of an end comes once more, and nothing else has changed: if nobody requests anything, it is the same period."""
        ended = [name for name, press in self.presses.items() if press.status == "SUCCESS"]
        if not ended:
            return
        name = data.draw(st.sampled_from(ended))
        with self.commit(False) as connection:
            signal = "task.succeeded"
            fact = event_log.fact(
                upstream="main",
                task_id=f"task of {name}",
                signal=signal,
                source="reconcile",
                now_ms=self.now_ms,
            )
            event_log.append(connection, fact)
        self.pending.append((signal, self.presses[name].follows))

    @rule(requests=st.booleans(), hears=st.booleans())
    def all_goes_well_for_a_while(self, requests: bool, hears: bool) -> None:
        """Everything that is open ends; by single steps a chain would rarely come to rest. The last delivery may request more."""
        while not self._is_at_rest():
            self.send(False, True)
            self.look(False)
            for name in [name for name, press in self.presses.items() if press.state == "accepted"]:
                if not self.presses[name].status:
                    self._end(name, False, "SUCCESS")
            self.look(False)
            self.fan_out(False)
            for _ in range(len(self.waiting)):
                self.look(False)
                self.deliver(False, False)
        self.look(False)
        self.fan_out(False)
        if hears:
            self.deliver(False, requests)

    def _is_at_rest(self) -> bool:
        """Nothing waits, runs, or may still be requested; what waits for the rest itself comes after it."""
        to_come = [signal for signal, _ in (*self.pending, *self.waiting) if signal != RESTED]
        return not to_come and not any(press.is_open for press in self.presses.values())

    def _press(self, key: str, asked_by: str = "person:api") -> Any:
        request = Action(task_id="root", custom_id=key)
        return wanted(key, request, chain_id=self.chain_id, asked_by=asked_by, depth=1)

    @invariant()
    def it_is_given_once_for_each_period(self) -> None:
        events = select(func.count()).select_from(schema.events).where(schema.events.c.signal == RESTED)
        assert self.connection.execute(events).scalar_one() == self.given
        self.connection.rollback()


LONG = settings(
    max_examples=40, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], deadline=None
)


def test_any_interleaving_gives_one_rest_a_period(new_file: Path) -> None:
    """On a file."""
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("OnFile", (Periods,), {"empty_file": new_file})
    run_state_machine_as_test(machine, settings=LONG)


def test_any_interleaving_gives_one_rest_a_period_on_a_server(postgres_url: str) -> None:
    """On PostgreSQL, with fewer examples: emptying it takes time."""
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("OnServer", (Periods,), {"postgres_url": postgres_url})
    run_state_machine_as_test(machine, settings=settings(LONG, max_examples=12))
