"""Nothing leaves although something is due: that is said, with why; and an uncertain submission holds no place for ever."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from dispatcher.loops.watch import stalls
from dispatcher.policy.absence import LAG_MS, is_absent
from dispatcher.policy.stalls import LONGEST_JOB_MS, SHORTEST_JOB_MS, STALLED_AFTER_MS, longest_job_ms, stall
from midjourney.decode import decode_task
from midjourney.dialects import Upstream
from midjourney.types import Task
from storage import clock, clock_steps, schema
from storage.engine import Connection
from storage.reading.backlog import Backlog
from storage.records import Standing, TaskRow
from storage.tasks import rows
from tests.support.staged import stage, wanted

NOW_MS = 1_800_000_000_000
UPSTREAM = Upstream(name="main", url="http://upstream", concurrency=3, jobs=3)
LONG_AGO = STALLED_AFTER_MS + 10_000


def backlog(**fields: Any) -> Backlog:
    """Twelve due for 40 seconds, and nothing has left since."""
    standing = Standing(name="main", **fields.pop("standing", {}))
    figures = {"due": 12, "due_since_ms": NOW_MS - LONG_AGO} | fields
    return Backlog(standing=standing, **figures)


@pytest.mark.parametrize(
    ("found", "why", "is_fault"),
    [
        pytest.param({"jobs": 3, "uncertain": 3}, "3 uncertain hold all 3 places", True, id="uncertain"),
        pytest.param(
            {"jobs": 3, "uncertain": 1}, "1 uncertain and 2 running hold all 3 places", True, id="some"
        ),
        pytest.param({"jobs": 3}, "3 running hold all 3 places", False, id="running"),
        pytest.param(
            {"requests": 3}, "3 requests under way hold all 3 places of `concurrency`", False, id="requests"
        ),
        pytest.param(
            {"standing": {"paused": True}},
            "a person has paused it; `hookchain resume main`",
            False,
            id="paused",
        ),
        pytest.param(
            {"standing": {"paused": True, "pause_reason": "blocked"}},
            "hookchain has paused it, and `hookchain upstreams` shows the reason; then `hookchain resume main`",
            True,
            id="refused",
        ),
        pytest.param(
            {"standing": {"open_ms": 20_000, "open_until_ms": NOW_MS + 12_000, "failures": 6}},
            "the breaker is open for 12 s after 6 requests without an answer",
            True,
            id="breaker",
        ),
        pytest.param(
            {"standing": {"open_ms": 20_000, "open_until_ms": NOW_MS - 1, "failures": 6}, "requests": 1},
            "the breaker is open, and its single trial request is under way",
            True,
            id="trial",
        ),
        pytest.param(
            {"standing": {"held_until_ms": NOW_MS + 5_000, "held_ms": 60_000}},
            "its queue is full, or it asked for time: 5 s more",
            False,
            id="held",
        ),
        pytest.param(
            {"in_lane": 12},
            "each waits for the one before it: presses on one picture are sent one after the other",
            False,
            id="lanes",
        ),
        pytest.param({}, "the reason is unknown; please report it with the log", True, id="unknown"),
    ],
)
def test_why_nothing_leaves(found: dict[str, Any], why: str, is_fault: bool) -> None:
    """Each reason in words, and whether somebody should look."""
    told = stall(UPSTREAM, backlog(**found), NOW_MS, works=True, longest_ms=SHORTEST_JOB_MS)
    assert told is not None
    assert told.sentence == f"nothing has left for 40 s although 12 are due: {why}"
    assert told.is_fault is is_fault


def test_what_became_due_while_no_worker_was_alive_has_not_waited_yet() -> None:
    """After a night in which nothing ran, much is due: that is no fault of the worker that has just started."""
    started: Any = {"works": True, "longest_ms": SHORTEST_JOB_MS}
    just_now = stall(UPSTREAM, backlog(), NOW_MS, **started, works_since_ms=NOW_MS - 5_000)
    assert just_now is None
    before = stall(UPSTREAM, backlog(), NOW_MS, **started, works_since_ms=NOW_MS - STALLED_AFTER_MS)
    assert before is not None
    assert before.for_s == STALLED_AFTER_MS // 1000
    nobody = stall(UPSTREAM, backlog(), NOW_MS, works=False, longest_ms=1, works_since_ms=0)
    assert nobody is not None
    assert nobody.for_s == LONG_AGO // 1000


def test_a_used_up_rate_is_a_reason() -> None:
    """One request a minute, and the next is not yet."""
    slow = replace(UPSTREAM, rate=1 / 60)
    standing = {"rate_paid_until_us": 1000 * (NOW_MS + 50_000)}
    told = stall(slow, backlog(standing=standing), NOW_MS, works=True, longest_ms=1)
    assert told is not None
    assert (told.why, told.is_fault) == ("its `rate` is used up for 50 s", False)


def test_other_ways_to_stand_still() -> None:
    """No worker, a clock that was ahead, callbacks that nobody verifies: these are faults."""
    nobody = stall(UPSTREAM, backlog(), NOW_MS, works=False, longest_ms=1)
    assert nobody is not None
    assert (nobody.why, nobody.is_fault) == ("no worker is alive", True)
    ahead = stall(UPSTREAM, backlog(due=0, ahead=4), NOW_MS, works=True, longest_ms=1)
    assert ahead is not None
    assert "4 were written by a clock that is ahead" in ahead.sentence
    doubted = backlog(due=0, doubted=2, doubted_since_ms=NOW_MS - LONG_AGO)
    unverified = stall(UPSTREAM, doubted, NOW_MS, works=True, longest_ms=1)
    assert unverified is not None
    assert "2 callbacks wait to be verified" in unverified.sentence


def test_jobs_that_run_for_longer_than_any_are_a_fault() -> None:
    """Three running jobs are why the others wait; for longer than the longest job, they are not."""
    for longest_ms, is_fault in ((LONG_AGO + 1, False), (LONG_AGO - 1, True)):
        told = stall(UPSTREAM, backlog(jobs=3), NOW_MS, works=True, longest_ms=longest_ms)
        assert told is not None
        assert told.is_fault is is_fault


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({"due": 0}, id="nothing is due"),
        pytest.param({"due_since_ms": NOW_MS - 5_000}, id="due for a moment"),
        pytest.param({"standing": {"left_at_ms": NOW_MS - 5_000}}, id="something has just left"),
        pytest.param({"standing": {"switched_at_ms": NOW_MS - 5_000}}, id="it was just resumed"),
    ],
)
def test_a_short_wait_is_no_stall(found: dict[str, Any]) -> None:
    """Nothing is said for half a minute."""
    assert stall(UPSTREAM, backlog(**found), NOW_MS, works=True, longest_ms=1) is None


def test_how_long_the_longest_job_is() -> None:
    """The setting counts; else twice what was seen, between ten minutes and two hours."""
    assert longest_job_ms(replace(UPSTREAM, longest_job_s=30), 10_000_000) == 30_000
    assert longest_job_ms(UPSTREAM, 0) == SHORTEST_JOB_MS
    assert longest_job_ms(UPSTREAM, 500_000) == 1_000_000
    assert longest_job_ms(UPSTREAM, 86_400_000) == LONGEST_JOB_MS


def a_task(task_id: str, status: str, submitted_ms: int | None = None) -> Task:
    time = "" if submitted_ms is None else f', "submitTime": {submitted_ms}'
    return decode_task(f'{{"id": "{task_id}", "action": "IMAGINE", "status": "{status}"{time}}}'.encode())


def ours(task_id: str, created_ms: int) -> TaskRow:
    return replace(rows.blank("main", task_id, created_ms), submission_id="s")


ENDED_MS = NOW_MS + 5_000
NEWER = {"new": ours("new", ENDED_MS + 1)}


@pytest.mark.parametrize(
    ("tasks", "known", "waited_ms", "absent"),
    [
        pytest.param([a_task("new", "SUCCESS")], NEWER, 1, True, id="a newer task of ours is there"),
        pytest.param([a_task("old", "SUCCESS")], {}, 1, False, id="the list may be behind"),
        pytest.param([a_task("old", "SUCCESS")], {}, LAG_MS, True, id="no list is so far behind"),
        pytest.param([], {}, LAG_MS, False, id="a list that shows nothing"),
        pytest.param(
            [a_task("x", "IN_PROGRESS")], {}, LAG_MS, False, id="somebody's task runs that may be it"
        ),
        pytest.param(
            [a_task("x", "IN_PROGRESS", NOW_MS - 3_600_000)], {}, LAG_MS, True, id="one that is too old"
        ),
        pytest.param([a_task("new", "IN_PROGRESS")], NEWER, 1, True, id="what runs is another's"),
    ],
)
def test_what_a_list_shows_about_a_place(
    tasks: list[Task], known: dict[str, TaskRow], waited_ms: int, absent: bool
) -> None:
    """Fresh, and nothing in it that runs could be the submission."""
    found = is_absent(tasks, known, began_ms=NOW_MS, ended_ms=ENDED_MS, asked_ms=ENDED_MS + waited_ms)
    assert found is absent


async def hang(bench: Any, places: int, **options: Any) -> None:
    """All places are held by submissions whose answer was lost; one more waits."""
    bench.options |= {"jobs": places, "dialect": "wenwen"} | options  # no list: nothing settles them
    bench.upstream.answer = lambda _path, _body: None
    await bench.start()
    now_ms = clock.now_ms()
    for number in range(places):
        await bench.database.write("test", lambda one, n=number: stage(one, wanted(f"lost {n}"), now_ms))
    await bench.until_states(*["uncertain"] * places)
    bench.upstream.answer = lambda _path, _body: (200, {"code": 1, "description": "ok", "result": "t"})
    await bench.database.write("test", lambda one: stage(one, wanted("waits"), now_ms))


def later(seconds: float) -> Any:
    """As if so much time had passed."""

    def pass_time(connection: Connection) -> None:
        passed_ms = int(1000 * seconds)
        clock_steps.shift(connection, -passed_ms, clock.now_ms())
        connection.execute(update(schema.leases).values(since_ms=schema.leases.c.since_ms - passed_ms))

    return pass_time


async def test_uncertain_submissions_that_hold_all_places_are_named(bench: Any) -> None:
    """Three answers are lost at three places. What waits for them says so after half a minute, and not before."""
    await hang(bench, 3)
    upstreams = {"main": replace(Upstream(name="main", url=""), **bench.options)}

    def ask(connection: Connection) -> dict[str, Any]:
        return stalls(connection, upstreams)

    assert await bench.database.read(ask) == {}
    await bench.database.write("test", later(40))
    found = await bench.database.read(ask)
    assert found["main"].sentence.endswith("although 1 is due: 3 uncertain hold all 3 places")
    assert found["main"].is_fault


async def test_an_uncertain_submission_gives_up_its_place_after_the_longest_job(bench: Any) -> None:
    """It stays uncertain, for a person; what waited for its place leaves."""
    await hang(bench, 2, longest_job_s=900)
    await bench.database.write("test", later(800))
    assert sum(one.state == "waiting" for one in await bench.submissions()) == 1
    await bench.database.write("test", later(200))
    await bench.until_states("uncertain", "uncertain", "accepted")


async def test_a_fresh_list_frees_a_place_at_once(bench: Any) -> None:
    """The list shows what is newer, and nothing that could be the lost one; why it shows no mark nobody knows. It stays
    uncertain, and holds no place."""
    bench.upstream.listed = [{"id": "theirs", "action": "IMAGINE", "status": "SUCCESS", "submitTime": 1}]
    await hang(bench, 1, dialect="trueai", settle_after_s=0.1, longest_job_s=86_400)
    await bench.database.write("test", later(LAG_MS / 1000))
    await bench.until_states("uncertain", "accepted")


async def test_the_next_attempt_takes_a_place_again(bench: Any) -> None:
    """What gave up its place, and is sent again by hand, counts as any other."""
    await hang(bench, 1, longest_job_s=900)
    await bench.database.write("test", later(1000))
    await bench.until_states("uncertain", "accepted")
    table = schema.submissions
    freed = table.update().where(table.c.state == "uncertain").values(state="waiting")
    await bench.database.write("test", lambda one: one.execute(freed).rowcount)
    bench.upstream.answer = lambda _path, _body: None
    finished = schema.tasks.update().values(finished_at_ms=clock.now_ms(), status="SUCCESS")
    await bench.database.write("test", lambda one: one.execute(finished).rowcount)
    await bench.until_states("uncertain", "accepted")
    [row] = await bench.database.read(
        lambda one: one.execute(table.select().where(table.c.state == "uncertain")).all()
    )
    assert row.takes_place
