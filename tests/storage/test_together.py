"""What is done for many at once is what would be done for one after the other: the same rows, and the same answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, Table, select

from dispatcher.policy.chain_budget import Budget, refusal
from midjourney.requests import Action
from storage import schema
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended, Run
from storage.deliveries.firings import Limit
from storage.driver.statements import Command
from storage.duty.held import Held
from storage.engine import Database
from storage.errors import LeaseLost
from storage.events import event_log
from storage.records import ClaimedDelivery, DeliveryState, Staged, Submission, SubmissionState
from storage.submissions import interrupted, proof, settlements, staging, submission_queue
from storage.submissions.settlements import Answered, Settlement
from storage.tasks import aliases, chains, marks
from tests.support.staged import stage, wanted

NOW_MS = 1_000_000
EXAMPLES = settings(max_examples=60, deadline=None)
TIGHT = Budget(depth=2, submissions=4, per_rule=3, per_hour=7)
REFUSE = partial(refusal, budget=msgspec.structs.replace(TIGHT, per_hour=1_000_000))
"""With the hour's limit far away, so that many are decided before any is stored."""

_begin = Command("SAVEPOINT example")
_end = Command("ROLLBACK TO SAVEPOINT example")
_one = Command("SAVEPOINT one")
_lost = Command("ROLLBACK TO SAVEPOINT one")

TABLES = (
    schema.submissions,
    schema.attempts,
    schema.deliveries,
    schema.firings,
    schema.tasks,
    schema.aliases,
    schema.chains,
)


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Everything that the steps write. The numbers of events and the random ids of new chains are left out.

    PostgreSQL gives rows in the order of its pages, which an update changes, so that rows are compared in an order of
    their own. Events alone are compared in the order in which they were written.
    """
    known = set(
        connection.execute(select(schema.chains.c.id).where(schema.chains.c.prompt == "set up")).scalars()
    )

    def shown(table: Table, row: Row[Any]) -> dict[str, Any]:
        chain = {"chains": "id"}.get(table.name, "chain_id")
        left_out = "id" if table is schema.events else ""
        return {
            name: "new" if name == chain and value not in known else value
            for name, value in row._mapping.items()
            if name != left_out
        }

    found = {
        table.name: sorted((shown(table, row) for row in connection.execute(select(table))), key=repr)
        for table in TABLES
    }
    events = connection.execute(select(schema.events).order_by(schema.events.c.id))
    found["events"] = [shown(schema.events, row) for row in events]
    return found


def both(
    connection: Connection, together: Callable[[], Sequence[Any]], singly: Sequence[Callable[[], Any]]
) -> None:
    """Do it both ways, each undone afterwards, and compare."""
    _begin(connection)
    answers, left = [_answer(one) for one in together()], rows(connection)
    _end(connection)
    expected = []
    for one in singly:
        _one(connection)
        try:
            expected.append(_answer(one()))
        except LeaseLost as error:
            _lost(connection)
            expected.append(str(error))
    by_singles = rows(connection)
    _end(connection)
    assert answers == expected
    assert left == by_singles


def _answer(value: Any) -> Any:
    """An answer that compares: an error by its text, and no random id of a chain."""
    if isinstance(value, Exception):
        return str(value)
    return msgspec.structs.replace(value, chain_id="") if isinstance(value, msgspec.Struct) else value


def chain_of(connection: Connection, root: str) -> str:
    return chains.create(connection, "main", root, 1, prompt="set up").id


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """One of few intents, in one of few chains, so that they meet."""
    return {
        "key": f"key {draw(st.integers(0, 5))}|{draw(st.sampled_from((0, 1)))}",
        "chain": draw(st.integers(0, 3)),
        "thing": draw(st.sampled_from(("", "U1|grid", "U2|grid"))),
        "label": draw(st.sampled_from(("U1", "U2"))),
        "asked_by": draw(st.sampled_from(("rule:a", "rule:b", "person:me"))),
        "depth": draw(st.sampled_from((1, 1, 1, 3))),
        "delay_ms": draw(st.sampled_from((0, 50))),
    }


def staged_of(chain_ids: Sequence[str], drawn: dict[str, Any]) -> Staged:
    press = Action(task_id=f"t{drawn['chain']}", custom_id=drawn["label"])
    return wanted(
        drawn["key"],
        press,
        chain_id=chain_ids[drawn["chain"]],
        **{name: drawn[name] for name in ("thing", "label", "asked_by", "depth", "delay_ms")},
    )


async def test_staging_together_is_staging_one_by_one(
    rows_are_held_for_long: None, database: Database
) -> None:
    """Repeated intents, one thing under two intents, chains and hours at their limits, chains that do not exist (yet), refusals that a
    person lifts, and a button that another client has pressed."""

    def work(connection: Connection) -> None:
        marks.secret(connection)
        chain_ids = [chain_of(connection, "a"), chain_of(connection, "b"), "gone", ""]
        made = {"upstream": "main", "parent_id": "t1", "id": "theirs", "made_by": "U2", "status": "SUCCESS"}
        zeros = {
            "progress": 100,
            "action": "",
            "depth": 0,
            "created_at_ms": 1,
            "updated_at_ms": 1,
            "misses": 0,
        }
        connection.execute(schema.tasks.insert(), made | zeros)

        @EXAMPLES
        @given(
            before=st.lists(requests(), max_size=4),
            batch=st.lists(requests(), min_size=1, max_size=12),
            per_hour=st.sampled_from((7, 1_000_000)),
        )
        def same(before: list[dict[str, Any]], batch: list[dict[str, Any]], per_hour: int) -> None:
            refuse = partial(refusal, budget=msgspec.structs.replace(TIGHT, per_hour=per_hour))
            begun = Command("SAVEPOINT before")
            begun(connection)
            for drawn in before:
                staging.stage(connection, staged_of(chain_ids, drawn), refuse=refuse, now_ms=NOW_MS - 5)
            many = [staged_of(chain_ids, drawn) for drawn in batch]
            both(
                connection,
                lambda: staging.stage_all(connection, many, refuse=refuse, now_ms=NOW_MS),
                [partial(staging.stage, connection, one, refuse=refuse, now_ms=NOW_MS) for one in many],
            )
            Command("ROLLBACK TO SAVEPOINT before")(connection)

        same()

    await database.write("test", work)


SETTLED: list[tuple[SubmissionState, str, str | None]] = [
    ("accepted", "accepted", "submission.accepted"),
    ("needs_modal", "needs_modal", "submission.needs_modal"),
    ("uncertain", "uncertain", "submission.uncertain"),
    ("rejected", "rejected", "submission.rejected"),
    ("waiting", "not_sent", None),
]


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, bool, Settlement]:
    """Which attempt, whether it is an earlier one, and its end; several name the same task."""
    state, outcome, signal = draw(st.sampled_from(SETTLED))
    ids = ("t0", "t1", "shared", "alias", "new")
    named = (
        draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))
        if "e" in state[:2] or state == "accepted"
        else []
    )
    settlement = Settlement(
        state=state,
        outcome=outcome,
        reason=draw(st.sampled_from(("", "because"))),
        task_ids=tuple(named),
        signal=signal,
        run_at_ms=NOW_MS + 5 if state == "waiting" else 0,
        http_status=draw(st.sampled_from((None, 200))),
        answer=draw(st.sampled_from((b"", b"\0\xff"))),
        child_status=draw(st.sampled_from(("", "MODAL"))),
        child_action=draw(st.sampled_from(("", "UPSCALE"))),
    )
    return draw(st.integers(0, 4)), draw(st.booleans()) and draw(st.booleans()), settlement


def begun(connection: Connection) -> list[Submission]:
    """Five attempts under way in three chains: two of them begin a chain, and a task of one has called back under another id."""
    chain_ids = [chain_of(connection, ""), chain_of(connection, "root")]
    for number in range(5):
        press = None if number < 2 else Action(task_id=f"t{number}", custom_id="U1")
        stage(connection, wanted(f"key {number}", press, chain_id=chain_ids[number % 2], label=str(number)))
    found = submission_queue.begin_attempts(connection, "main", 9, NOW_MS - 9)
    blank = {
        "progress": 0,
        "action": "",
        "depth": 0,
        "created_at_ms": NOW_MS,
        "updated_at_ms": 1,
        "misses": 0,
    }
    blank |= {"upstream": "main", "status": "SUBMITTED", "parent_id": ""}
    for task_id, submission in (("t0", None), ("relayed", found[2]), ("aliased", None)):
        tied = {"submission_id": submission.id, "chain_id": submission.chain_id} if submission else {}
        connection.execute(schema.tasks.insert(), blank | {"id": task_id} | tied)
    aliases.join(connection, "main", "alias", "aliased")
    return found


async def test_settling_together_is_settling_one_by_one(
    rows_are_held_for_long: None, database: Database
) -> None:
    """Ends of earlier attempts, the same attempt twice, tasks that two answers name, aliases, modals, and answers that never came."""

    def work(connection: Connection) -> None:
        found = begun(connection)

        @EXAMPLES
        @given(batch=st.lists(answers(), min_size=1, max_size=6))
        def same(batch: list[tuple[int, bool, Settlement]]) -> None:
            many = []
            for number, is_old, settlement in batch:
                one = found[number]
                attempts = one.attempts - 1 if is_old else one.attempts
                many.append(Answered(msgspec.structs.replace(one, attempts=attempts), settlement))
            both(
                connection,
                lambda: settlements.settle_all(connection, many, NOW_MS),
                [
                    partial(settlements.settle_attempt, connection, one.submission, one.settlement, NOW_MS)
                    for one in many
                ],
            )

        same()

    await database.write("test", work)


@st.composite
def ends(draw: st.DrawFn) -> tuple[int, bool, DeliveryState, bool, bool, list[dict[str, Any]]]:
    """Which run, whether of an earlier attempt, its state, whether it is excused or limited, and what it requested."""
    return (
        draw(st.integers(0, 4)),
        draw(st.booleans()) and draw(st.booleans()),
        draw(st.sampled_from(("done", "done", "waiting", "dead"))),
        draw(st.booleans()),
        draw(st.booleans()) and draw(st.booleans()),
        draw(st.lists(requests(), max_size=3)),
    )


def claimed(connection: Connection) -> list[ClaimedDelivery]:
    """Five runs of two receivers, with more deliveries behind some of them."""
    for number in range(4):
        for _ in range(2):
            event_log.append(
                connection,
                event_log.fact(
                    upstream="main",
                    task_id=f"t{number}",
                    signal="task.succeeded",
                    source="internal",
                    now_ms=1,
                ),
            )
    delivery_queue.fan_out(connection, lambda event: ["rule:a", "rule:b"], 100, 1)
    return delivery_queue.claim(connection, 5, NOW_MS, room=lambda _name: 9)


async def test_ending_runs_together_is_ending_them_one_by_one(
    rows_are_held_for_long: None, database: Database
) -> None:
    """Lost leases, the same run twice, receivers at their limit, lanes in which others wait, and all that staging has to decide."""

    def work(connection: Connection) -> None:
        marks.secret(connection)
        chain_ids = [chain_of(connection, "a"), chain_of(connection, "b"), "gone", ""]
        found = claimed(connection)

        def run_of(drawn: tuple[int, bool, DeliveryState, bool, bool, list[dict[str, Any]]]) -> Run:
            number, is_old, state, excused, limited, staged = drawn
            one = found[number]
            delivery = msgspec.structs.replace(one.delivery, attempts=one.delivery.attempts - is_old)
            ending = Ended(
                state=state,
                decision=state,
                excused=excused,
                run_at_ms=NOW_MS + 7 if state == "waiting" else 0,
                staged=tuple(staged_of(chain_ids, drawn) for drawn in staged),
                fired=bool(staged),
                limit=Limit(most=1, per="task") if limited and not is_old else None,
            )
            return Run(msgspec.structs.replace(one, delivery=delivery), ending)

        @EXAMPLES
        @given(batch=st.lists(ends(), min_size=1, max_size=6, unique_by=lambda drawn: drawn[0]))
        def same(batch: list[tuple[int, bool, DeliveryState, bool, bool, list[dict[str, Any]]]]) -> None:
            many = [run_of(drawn) for drawn in batch]
            both(
                connection,
                lambda: endings.end_all(connection, many, refuse=REFUSE, now_ms=NOW_MS),
                [
                    partial(endings.end, connection, one.claimed, one.ending, refuse=REFUSE, now_ms=NOW_MS)
                    for one in many
                ],
            )

        same()

    await database.write("test", work)


async def test_what_is_staged_together_counts_towards_each_limit(
    rows_are_held_for_long: None, database: Database
) -> None:
    """Six presses at once: no more of them are made than the chain, one rule, and the hour allow."""
    presses = [
        {"key": f"key {number}|0", "thing": "", "label": "U1", "depth": 1, "delay_ms": 0}
        for number in range(6)
    ]
    limits = [
        (Budget(submissions=4), ("rule:a", "rule:b"), 4),
        (Budget(per_rule=3), ("rule:a",), 3),
        (Budget(per_hour=2), ("rule:a", "rule:b"), 2),
    ]

    def made(budget: Budget, names: tuple[str, ...], connection: Connection) -> int:
        _begin(connection)
        chain_ids = [chain_of(connection, "a")]
        staged = [
            staged_of(chain_ids, press | {"chain": 0, "asked_by": names[number % len(names)]})
            for number, press in enumerate(presses)
        ]
        refuse = partial(refusal, budget=budget)
        results = staging.stage_all(connection, staged, refuse=refuse, now_ms=NOW_MS)
        _end(connection)
        return sum(result.created for result in results)

    for budget, names, most in limits:
        assert await database.write("test", partial(made, budget, names)) == most


async def test_a_late_answer_to_an_interrupted_attempt_leaves_the_next_one_alone(
    rows_are_held_for_long: None, database: Database
) -> None:
    """Its worker froze; it was given back, a person had it sent again, and that attempt is under way: both, or the late one alone."""

    def work(connection: Connection) -> None:
        stage(connection, wanted("one"))
        (frozen,) = submission_queue.begin_attempts(connection, "main", 1, NOW_MS)
        interrupted.give_back(connection, [Held(frozen.id, frozen.attempts)], NOW_MS)
        found = submission_queue.find(connection, frozen.id)
        assert found is not None
        assert proof.settle_by_hand(connection, found, accepted=False, task_id="", now_ms=NOW_MS)
        (again,) = submission_queue.begin_attempts(connection, "main", 1, NOW_MS)
        late = Settlement(state="accepted", outcome="accepted", reason="", task_ids=("t",))
        _begin(connection)
        with pytest.raises(LeaseLost):
            settlements.settle_all(connection, [Answered(frozen, late)], NOW_MS)
        _end(connection)
        assert settlements.settle_all(connection, [Answered(again, late)], NOW_MS) == [None]

    await database.write("test", work)
