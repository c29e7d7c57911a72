"""Budgets of a period: never more than they allow, and given back once, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from dispatcher.policy.period_budgets import Budgets, PeriodBudget
from midjourney.decode import decode_task
from midjourney.requests import Cancel, Imagine, Modal
from storage import schema
from storage.budgets import charges, counters
from storage.budgets.billing import PLAN, Charge
from storage.engine import Database, write_engine
from storage.records import Incoming, StageResult, SubmissionState
from storage.submissions import adoption, dead_submissions, proof, releases, settlements, submission_queue
from storage.submissions.settlements import Settlement
from storage.tasks import chains
from storage.tasks.believe import TaskReport, believe
from tests.support.staged import stage, wanted

UTC = ZoneInfo("UTC")
PRICES = {"main": {"imagine": 0.1, "default": 0.1}}
HOUR_MS = 3_600_000
DAY = PeriodBudget(per="day", by="upstream", submissions=4)
HOUR = PeriodBudget(per="hour", spend=0.3)
RULE = PeriodBudget(per="month", by="rule", submissions=2, name="the last that is asked")
LIMITS = {DAY.title: (4, None), HOUR.title: (None, 300_000), RULE.title: (2, None)}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """One that writes, and counts by three budgets at once."""
    engine = write_engine(database_url)
    with engine.connect() as opened:
        opened.info[PLAN] = Budgets([DAY, HOUR, RULE], UTC, PRICES)
        yield opened
        opened.info.clear()
    engine.dispose()


class World:
    """A few submissions, and all that can happen to them. `over` is what a person let go over a limit."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now_ms = 1_000 * HOUR_MS
        self.tasks: list[str] = []
        self.over = False

    def stage(self, number: int) -> None:
        by = "person:api" if number % 2 else "rule:r"
        stage(self.connection, wanted(f"k{number}", asked_by=by), self.now_ms)

    def answer(self, state: SubmissionState) -> None:
        for begun in submission_queue.begin_attempts(self.connection, "main", 1, self.now_ms):
            task_ids = (f"t{len(self.tasks)}",) if state == "accepted" else ()
            self.tasks += task_ids
            told = Settlement(state=state, outcome=state, reason="", task_ids=task_ids, run_at_ms=self.now_ms)
            settlements.settle_attempt(self.connection, begun, told, self.now_ms)

    def end(self, number: int, status: str) -> None:
        if self.tasks:
            task_id = self.tasks[number % len(self.tasks)]
            task = decode_task(msgspec.json.encode({"id": task_id, "status": status, "action": "IMAGINE"}))
            report = TaskReport(
                upstream="main", task_id=task_id, task=task, asked_at_ms=self.now_ms, is_certain=True
            )
            believe(self.connection, report, now_ms=self.now_ms)

    def prove(self, number: int) -> None:
        unproven = submission_queue.in_state(self.connection, "uncertain") + submission_queue.in_state(
            self.connection, "dead"
        )
        for one in unproven[number % 2 :]:
            proof.prove(self.connection, one, f"proof-{one.id}", self.now_ms)

    def retry(self, number: int) -> None:
        found = self.connection.execute(select(schema.submissions.c.id).order_by("id")).scalars().all()
        dead_submissions.retry(self.connection, found[number : number + 2], self.now_ms)

    def press(self, number: int) -> None:
        for one in submission_queue.in_state(self.connection, "refused")[number : number + 1]:
            releases.press_again(self.connection, one.id, self.now_ms, by="person:page")

    def release(self, number: int) -> None:
        for one in submission_queue.in_state(self.connection, "refused")[number : number + 1]:
            self.over |= releases.release(self.connection, one.id, self.now_ms, by="person:page")

    def wait(self, hours: int) -> None:
        self.now_ms += hours * HOUR_MS

    def counted(self) -> int:
        return sum(self.connection.execute(select(schema.budgets.c.submissions)).scalars())

    def check(self) -> None:
        """The counters are what the submissions are that may have to be paid; and within the limits."""
        rows = self.connection.execute(select(schema.submissions)).all()
        failed = set(
            self.connection.execute(
                select(schema.tasks.c.submission_id).where(schema.tasks.c.status.in_(("FAILURE", "CANCEL")))
            ).scalars()
        )
        count: Counter[tuple[str, str, str]] = Counter()
        micros: Counter[tuple[str, str, str]] = Counter()
        for row in rows:
            is_open = row.state in ("waiting", "sending", "accepted", "uncertain") and row.id not in failed
            assert bool(row.counted) == is_open, (row.state, row.id in failed)
            for one in msgspec.json.decode(row.charges, type=tuple[Charge, ...]) if row.counted else ():
                count[one.budget, one.scope, one.period] += 1
                micros[one.budget, one.scope, one.period] += one.micros
        for row in self.connection.execute(select(schema.budgets)):
            key = (row.budget, row.scope, row.period)
            assert (row.submissions, row.spent_micros) == (count[key], micros[key]), key
            most, most_micros = LIMITS[row.budget]
            assert self.over or most is None or row.submissions <= most
            assert self.over or most_micros is None or row.spent_micros <= most_micros
            count.pop(key, None)
        assert not +count


NUMBER = st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("stage"), NUMBER),
    st.tuples(st.just("stage"), NUMBER),
    st.tuples(
        st.just("answer"),
        st.sampled_from(
            ["accepted", "accepted", "rejected", "dead", "uncertain", "waiting", "needs_modal", "existed"]
        ),
    ),
    st.tuples(st.just("end"), NUMBER, st.sampled_from(["FAILURE", "SUCCESS", "CANCEL", "IN_PROGRESS"])),
    st.tuples(st.just("prove"), NUMBER),
    st.tuples(st.just("retry"), NUMBER),
    st.tuples(st.just("press"), NUMBER),
    st.tuples(st.just("release"), NUMBER),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_the_counters_follow_from_what_may_have_to_be_paid(
    connection: Connection, steps: list[tuple[Any, ...]]
) -> None:
    """Whatever happens in whatever order, and twice: no limit is exceeded, and each failure gives back once."""
    world = World(connection)
    try:
        for name, *arguments in steps:
            before = world.counted()
            getattr(world, name)(*arguments)
            # What was bought all the same counts again, and may go over a limit that others have reached since.
            world.over |= name in ("answer", "end", "prove") and world.counted() > before
            world.check()
    finally:
        connection.rollback()


def used(connection: Connection) -> list[tuple[str, int, int]]:
    return sorted((one.scope, one.submissions, one.spent_micros) for one in counters.used(connection, 0))


@pytest.fixture
def limited(database: Database) -> Database:
    """Three submissions a day at each upstream."""
    database.charge_by(Budgets([PeriodBudget(per="day", by="upstream", submissions=3)], UTC, {}))
    return database


def accept(connection: Connection) -> None:
    """The upstream takes what is due, as task "t"."""
    (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
    told = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("t",))
    settlements.settle_attempt(connection, begun, told, 3)


async def staged(database: Database, key: str, now_ms: int = 1, **fields: Any) -> StageResult:
    return await database.write("stage", lambda c: stage(c, wanted(key, **fields), now_ms))


async def test_as_many_are_staged_as_the_budget_says_whoever_asks(limited: Database) -> None:
    """Three, and no fourth, which is kept and tells why; the next upstream has its own, and the next day three more."""
    made = [
        await staged(limited, f"k{n}", asked_by=by) for n, by in enumerate(["rule:r", "person:api", "x", "x"])
    ]
    assert [one.created for one in made] == [True, True, True, False]
    assert made[3].refused == (
        "budget 'submissions per day by upstream' for upstream main, 1970-01-01: 3 of 3 submissions are used up; "
        "the next period begins at 1970-01-02 00:00 UTC"
    )
    assert (await staged(limited, "other", upstream="relay")).created
    assert [(await staged(limited, f"next{n}", 24 * HOUR_MS)).created for n in range(4)] == [True] * 3 + [
        False
    ]
    assert await limited.read(used) == [
        ("upstream main", 3, 0),
        ("upstream main", 3, 0),
        ("upstream relay", 1, 0),
    ]


@pytest.mark.parametrize(
    ("limit", "says"),
    [({"submissions": 0}, "0 of 0 submissions are used up"), ({"spend": 0.09}, "0 of 0.09 is spent")],
)
async def test_the_first_of_a_period_is_held_to_the_limit_too(
    database: Database, limit: dict[str, Any], says: str
) -> None:
    """Nothing was counted before it, and there is no room for it."""
    database.charge_by(Budgets([PeriodBudget(per="day", **limit)], UTC, PRICES))
    assert says in (await staged(database, "first")).refused
    assert await database.read(used) == []


async def test_what_one_budget_refuses_counts_in_none(database: Database) -> None:
    """The day has room, and has it still after the month had none."""
    month = PeriodBudget(per="month", submissions=1, name="the last that is asked")
    database.charge_by(Budgets([PeriodBudget(per="day", submissions=9), month], UTC, {}))
    assert [(await staged(database, f"k{n}")).created for n in range(4)] == [True, False, False, False]
    assert [count for _, count, _ in await database.read(used)] == [1, 1]


async def test_what_is_refused_and_what_is_asked_for_again_do_not_count(limited: Database) -> None:
    """Nor does a cancel, which always goes."""
    for _ in range(5):
        await staged(limited, "same")
    for number in range(5):
        await staged(limited, f"k{number}", asked_by="rule:r")
    assert await limited.read(used) == [("upstream main", 3, 0)]
    assert (await staged(limited, "c", request=Cancel(task_id="t"))).created
    assert await limited.read(used) == [("upstream main", 3, 0)]


async def test_a_dead_letter_that_is_retried_counts_once_and_only_if_there_is_room(limited: Database) -> None:
    """It was given back when it died; when others have used its place up, it is refused, and a person may release it."""
    first = await staged(limited, "first")

    def die(connection: Connection) -> None:
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 9)
        told = Settlement(state="dead", outcome="not_sent", reason="away")
        settlements.settle_attempt(connection, begun, told, 3)

    await limited.write("die", die)
    assert await limited.read(used) == [("upstream main", 0, 0)]
    await limited.write("retry", lambda c: dead_submissions.retry(c, [first.submission_id], 4))
    await limited.write("retry", lambda c: dead_submissions.retry(c, [first.submission_id], 4))
    assert await limited.read(used) == [("upstream main", 1, 0)]
    await limited.write("die", die)
    for number in range(3):
        await staged(limited, f"k{number}")
    assert await limited.write("retry", lambda c: dead_submissions.retry(c, [first.submission_id], 4)) == 1
    found = await limited.read(lambda c: submission_queue.find(c, first.submission_id))
    assert found is not None
    assert (found.state, "3 of 3 submissions are used up" in found.reason) == ("refused", True)
    assert await limited.write("go", lambda c: releases.release(c, found.id, 5, by="person:api"))
    assert await limited.read(used) == [("upstream main", 4, 0)]


async def test_an_intent_that_two_ask_for_at_once_counts_once(limited: Database) -> None:
    """As with everything that is unique by its key."""
    made = await asyncio.gather(*(staged(limited, "same") for _ in range(8)))
    assert sum(one.created for one in made) == 1
    assert await limited.read(used) == [("upstream main", 1, 0)]


async def test_follow_ups_count_for_the_client_and_the_state_of_their_root(database: Database) -> None:
    """A press has no `state` of its own; another one that it is given counts instead."""
    plan = [PeriodBudget(per="day", by=by, submissions=99) for by in ("state", "client")]
    database.charge_by(Budgets(plan, UTC, {}))
    root = await staged(
        database, "root", request=Imagine(prompt="a", extra={"state": "order-7"}), client="shop"
    )
    await staged(database, "u1", chain_id=root.chain_id, asked_by="rule:r")
    await staged(database, "own", chain_id=root.chain_id, request=Imagine(prompt="b", extra={"state": "x"}))
    await staged(database, "nobody's")
    counted = [(scope, count) for scope, count, _ in await database.read(used)]
    assert counted == [
        ("client shop", 3),
        ("no client", 1),
        ("no state", 1),
        ("state order-7", 2),
        ("state x", 1),
    ]


async def test_the_root_of_somebody_else_tells_the_state_too(database: Database) -> None:
    """A task that another program submitted, with its `state`, to an upstream whose registered hook is ours."""
    database.charge_by(Budgets([PeriodBudget(per="day", by="state", submissions=99)], UTC, {}))
    payload = {"id": "t", "status": "SUCCESS", "action": "IMAGINE", "state": "order-8"}
    task = decode_task(msgspec.json.encode(payload))

    def tell(connection: Connection) -> None:
        believe(connection, TaskReport(upstream="main", task_id="t", task=task, asked_at_ms=1), now_ms=1)
        chain_id = chains.adopt(connection, "main", "t", "", 1)[0]
        stage(connection, wanted("u1", chain_id=chain_id, asked_by="rule:r"))
        stage(connection, wanted("u2", chain_id=chain_id, asked_by="rule:r"))

    await database.write("tell", tell)
    assert await database.read(used) == [("state order-8", 2, 0)]


async def test_what_only_a_callback_says_gives_nothing_back(limited: Database) -> None:
    """A failure that nobody has confirmed, whenever the submission is looked at; confirmed, it gives back."""
    made = await staged(limited, "k")
    task = decode_task(b'{"id":"t","status":"FAILURE","action":"IMAGINE"}')

    await limited.write("accept", accept)
    heard = Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=4)
    await limited.append(heard)
    await limited.write("look", lambda c: charges.follow(c, made.submission_id))
    assert await limited.read(used) == [("upstream main", 1, 0)]
    confirmed = TaskReport(upstream="main", task_id="t", task=task, asked_at_ms=9, is_certain=True)
    await limited.write("believe", lambda c: believe(c, confirmed, now_ms=9))
    assert await limited.read(used) == [("upstream main", 0, 0)]


async def test_a_failure_counts_where_callbacks_are_trusted(limited: Database) -> None:
    """There a callback is the upstream's word."""
    limited.trust({"main"})
    await staged(limited, "k")

    await limited.write("accept", accept)
    task = decode_task(b'{"id":"t","status":"FAILURE","action":"IMAGINE"}')
    await limited.append(
        Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=4)
    )
    assert await limited.read(used) == [("upstream main", 0, 0)]


async def test_what_was_given_up_and_is_there_all_the_same_counts_again(limited: Database) -> None:
    """A dead submission whose task turns up with its mark was bought, whatever else is used up by now."""
    made = await staged(limited, "k")

    def die(connection: Connection) -> None:
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
        told = Settlement(state="dead", outcome="not_sent", reason="away")
        settlements.settle_attempt(connection, begun, told, 3)

    await limited.write("die", die)
    found = await limited.read(lambda c: submission_queue.find(c, made.submission_id))
    assert found is not None
    for _ in range(2):
        await limited.write("prove", lambda c: proof.prove(c, found, "t", 4))
        assert await limited.read(used) == [("upstream main", 1, 0)]


async def test_what_a_person_settles_is_counted_by_how_its_task_ended(limited: Database) -> None:
    """The task that it made has failed, as the upstream says, and failures are free."""
    made = await staged(limited, "k")

    def lose(connection: Connection) -> None:
        failed = decode_task(b'{"id":"t","status":"FAILURE","action":"IMAGINE"}')
        believe(connection, TaskReport(upstream="main", task_id="t", task=failed, asked_at_ms=1), now_ms=1)
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
        told = Settlement(state="uncertain", outcome="uncertain", reason="silence")
        settlements.settle_attempt(connection, begun, told, 3)

    await limited.write("lose", lose)
    found = await limited.read(lambda c: submission_queue.find(c, made.submission_id))
    assert found is not None
    assert await limited.read(used) == [("upstream main", 1, 0)]
    await limited.write(
        "settle", lambda c: proof.settle_by_hand(c, found, accepted=True, task_id="t", now_ms=4)
    )
    assert await limited.read(used) == [("upstream main", 0, 0)]


async def test_what_a_restored_database_had_given_up_counts_when_the_upstream_shows_it(
    limited: Database,
) -> None:
    """It was bought: as if its task had turned up by itself."""
    made = await staged(limited, "k")

    def die(connection: Connection) -> None:
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
        settlements.settle_attempt(
            connection, begun, Settlement(state="dead", outcome="not_sent", reason="away"), 3
        )

    await limited.write("die", die)
    assert await limited.read(used) == [("upstream main", 0, 0)]
    task = decode_task(b'{"id":"t","status":"SUCCESS","action":"IMAGINE"}')
    found = adoption.MarkedTask(mark=made.submission_id, task=task, staged=wanted("k"))
    for _ in range(2):
        await limited.write("adopt", lambda c: adoption.adopt(c, "main", [found], 4))
        assert await limited.read(used) == [("upstream main", 1, 0)]


async def test_the_press_of_a_window_is_free_and_its_answer_counts(database: Database) -> None:
    """Also when the window is lost, and both are made again; a failure of the window's task gives back its answer."""
    plan = Budgets([PeriodBudget(per="day", spend=10)], UTC, {"main": {"default": 0.5, "modal": 2}})
    database.charge_by(plan)

    async def spent() -> float:
        return sum(micros for *_, micros in await database.read(used)) / 1_000_000

    press = await staged(database, "press", asked_by="rule:r")
    assert await spent() == 0.5

    def settle(connection: Connection, state: str, task_ids: tuple[str, ...], status: str = "") -> None:
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
        told = Settlement(
            state=cast("SubmissionState", state),
            outcome=state,
            reason="",
            task_ids=task_ids,
            child_status=status,
        )
        settlements.settle_attempt(connection, begun, told, 3)

    await database.write("window", lambda c: settle(c, "needs_modal", ("w",), "MODAL"))
    assert await spent() == 0

    def answer(connection: Connection) -> StageResult:
        return stage(connection, wanted("answer", Modal(task_id="w", prompt="p"), chain_id=press.chain_id))

    await database.write("answer", answer)
    assert await spent() == 2
    await database.write("accept", lambda c: settle(c, "accepted", ("w",)))
    assert await spent() == 2
    failed = decode_task(b'{"id":"w","status":"FAILURE","action":"ZOOM"}')
    report = TaskReport(upstream="main", task_id="w", task=failed, asked_at_ms=9, is_certain=True)
    for _ in range(2):
        await database.write("fail", lambda c: believe(c, report, now_ms=9))
        assert await spent() == 0
