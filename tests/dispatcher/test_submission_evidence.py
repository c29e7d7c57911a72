"""What a list disproves, and what else may explain that a task is not in it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
import pytest

from dispatcher.policy.list_learning import learn
from dispatcher.policy.submission_evidence import (
    MODAL_MS,
    Listing,
    could_have_ended_ms,
    has_moved_on,
    objection,
    proves,
)
from midjourney.decode import decode_task
from midjourney.requests import Action, encode_request
from midjourney.types import Task
from storage.records import INTERRUPTED, Submission, TaskRow, Uncertain
from storage.submissions.uncertain import Ours
from storage.tasks import rows as tasks
from storage.upstreams.list_facts import ListFacts

SENT_MS = 1_800_000_000_000
ENDED_MS = SENT_MS + 70_000
IDLE_MS = 600_000
LATE_MS = ENDED_MS + 5_000
ID = "0123456789abcdef01234567"
UPSCALE = "MJ::JOB::upsample::1::x"


def press(**fields: Any) -> Submission:
    """One that was sent, and is uncertain."""
    made = Submission(
        id=ID,
        idempotency_key="k",
        chain_id="c",
        upstream="main",
        kind="action",
        label="U1",
        request=encode_request(Action(task_id="grid", custom_id=UPSCALE)),
        parent_id="grid",
        depth=1,
        asked_by="rule:r",
        lane="",
        priority=0,
        queue_at_ms=0,
        state="uncertain",
        outcome="uncertain",
        reason="",
        task_ids=(),
        attempts=1,
        forgiven=0,
        repeats=0,
        run_at_ms=0,
        started_at_ms=SENT_MS,
        created_at_ms=SENT_MS,
        updated_at_ms=SENT_MS,
    )
    return msgspec.structs.replace(made, **fields)


def task(task_id: str, **fields: Any) -> Task:
    return decode_task(
        json.dumps({"id": task_id, "status": "SUCCESS", "action": "UPSCALE"} | fields).encode()
    )


def mark(number: int) -> str:
    return f"{number:024x}"


def ours(number: int, began_ms: int, **fields: Any) -> Ours:
    """A press of ours that made task t<number>."""
    made = Ours(
        task_id=f"t{number}",
        submission_id=mark(number),
        kind="action",
        began_ms=began_ms,
        known_ms=began_ms + 100,
        took_ms=100,
    )
    return msgspec.structs.replace(made, **fields)


OLD, WITNESS = ours(1, SENT_MS - 60_000), ours(2, ENDED_MS + 1_000)


def listing(*shown: Task, known: tuple[Ours, ...] = (OLD, WITNESS), **fields: Any) -> Listing:
    """A list of these tasks; of those in `known` it shows the ones whose ids are among them."""
    rows = {
        one.task_id: msgspec.structs.replace(
            tasks.blank("main", one.task_id, one.known_ms), submission_id=one.submission_id
        )
        for one in known
        if any(task.id == one.task_id for task in shown)
    }
    marked = {
        one.id: [ours.submission_id for ours in known if ours.submission_id.encode() in one.raw]
        for one in shown
    }
    made = Listing(asked_ms=LATE_MS, tasks=shown, rows=rows, marked=marked, ours=known)
    return msgspec.structs.replace(made, **fields)


def shown(one: Ours, **fields: Any) -> Task:
    return task(one.task_id, state=one.submission_id, **fields)


def why_not(found: Listing, submission: Submission | None = None, **fields: Any) -> str:
    uncertain = Uncertain(submission or press(), fields.pop("times", 1))
    habits = fields.pop("habits", ListFacts())
    return objection(found, uncertain, habits, ended_ms=ENDED_MS, idle_ms=IDLE_MS)


def test_a_list_that_is_fresh_and_complete_disproves() -> None:
    """It shows a press of ours from before, and one that was made after the request could have ended."""
    assert why_not(listing(shown(WITNESS), shown(OLD))) == ""


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (listing(shown(OLD)), "newer than the request"),
        (listing(shown(WITNESS)), "reach back"),
        (listing(), "reach back"),
        (listing(shown(OLD), shown(WITNESS), asked_ms=ENDED_MS - 1), "under way"),
        (listing(shown(OLD), shown(WITNESS), unread=1), "1 entries of the list cannot be read"),
        (listing(task("t1"), task("t2")), "with its mark"),
        (listing(shown(OLD), shown(WITNESS), task("x")), "may be its task"),
        (listing(shown(OLD), shown(WITNESS), task("x", submitTime=SENT_MS - 1_000)), "may be its task"),
        (
            listing(shown(OLD), shown(WITNESS), known=(OLD, ours(3, SENT_MS - 5_000), WITNESS)),
            "lacks task t3",
        ),
    ],
    ids=[
        "it may be behind",
        "it may begin later",
        "it is empty",
        "a server may still be at it",
        "an entry is nested too deep",
        "tasks of this kind bear no marks",
        "a stranger",
        "a stranger of a second before, by the upstream's clock",
        "a task of ours is missing",
    ],
)
def test_whatever_else_explains_the_silence_is_an_objection(found: Listing, why: str) -> None:
    assert why in why_not(found)


@pytest.mark.parametrize(
    "stranger",
    [task("x", submitTime=SENT_MS - 3_600_000), task("x", state="somebody-else")],
    ids=["of an hour ago", "that says whose it is"],
)
def test_a_stranger_that_cannot_be_the_one_is_no_objection(stranger: Task) -> None:
    assert why_not(listing(shown(OLD), shown(WITNESS), stranger)) == ""


def test_a_stranger_that_is_called_what_only_other_kinds_are_called_is_no_objection() -> None:
    """Our imagines are called IMAGINE there, and our presses UPSCALE: somebody else's imagine is no press of ours."""
    imagine = ours(3, ENDED_MS + 2_000, kind="imagine")
    seen = shown(OLD), shown(imagine, action="IMAGINE")
    found = listing(*seen, task("x", action="IMAGINE"), known=(OLD, imagine))
    assert why_not(found) == ""
    assert "may be its task" in why_not(listing(*seen, task("x", action="PAN"), known=(OLD, imagine)))
    assert "may be its task" in why_not(found, press(kind="imagine", parent_id=""))


def test_the_answer_to_a_window_is_no_witness() -> None:
    """It makes no new task: its window has been in the list for long."""
    answer = msgspec.structs.replace(WITNESS, kind="modal")
    assert "newer" in why_not(listing(shown(OLD), shown(answer), known=(OLD, answer)))


def test_marks_count_by_kind() -> None:
    """A list that echoes `state` on imagines and not on presses shows no marks of presses."""
    imagine = ours(3, ENDED_MS + 2_000, kind="imagine")
    found = listing(task("t1"), shown(imagine), known=(OLD, imagine))
    assert found.marks_of_kinds == {"action": False, "imagine": True}
    assert "kind action" in why_not(found, habits=ListFacts(marks={"action": True, "imagine": True}))


def test_marks_are_remembered_until_the_list_contradicts() -> None:
    witness = ours(3, ENDED_MS + 2_000, kind="imagine")
    old = msgspec.structs.replace(OLD, kind="imagine")
    found = listing(shown(old), shown(witness), known=(old, witness))
    assert "kind action" in why_not(found)
    assert why_not(found, habits=ListFacts(marks={"action": True})) == ""


def test_an_idle_upstream_disproves_late_and_only_where_its_lag_is_known() -> None:
    """Nothing of ours came later: three lags that were timed, and a wait that no lag of this upstream explains."""
    timed = ListFacts(lags_ms=(1_000, 2_000, 1_500), marks={"action": True})
    slow = ListFacts(lags_ms=(1_000, 400_000, 1_500), marks={"action": True})
    late = listing(shown(OLD), known=(OLD,), asked_ms=ENDED_MS + IDLE_MS)
    assert why_not(late, habits=timed) == ""
    assert why_not(listing(shown(OLD), known=(OLD,), asked_ms=ENDED_MS + IDLE_MS - 1), habits=timed)
    assert why_not(late, habits=ListFacts(lags_ms=(1_000, 2_000)))
    assert why_not(late, habits=slow)
    assert why_not(listing(shown(OLD), known=(OLD,), asked_ms=ENDED_MS + 1_200_000), habits=slow) == ""


def test_what_was_lost_twice_is_for_a_person() -> None:
    """And what our own process lost after the fifth time: refusals in between do not count."""
    found = listing(shown(OLD), shown(WITNESS))
    assert "lost 2 times" in why_not(found, times=2)
    assert why_not(found, press(outcome=INTERRUPTED, attempts=9), times=5) == ""
    assert why_not(found, press(outcome=INTERRUPTED), times=6)
    assert why_not(found, press(kind="modal"))


def test_a_task_of_an_earlier_attempt_proves_nothing_about_this_one() -> None:
    marked = task("window", state=ID)
    assert proves(marked, press())
    assert not proves(marked, press(attempts=2, task_ids=("window",)))


@pytest.mark.parametrize(
    ("submission", "slowest_s", "ends_s"),
    [
        (press(), 0, 60 + 10),
        (press(updated_at_ms=SENT_MS + 60_000), 0, 60 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 40_000), 0, 40 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 5_000), 0, 5 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 2_000, outcome=INTERRUPTED), 0, 2 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 3_600_000, outcome=INTERRUPTED), 0, 60 + 10 + 60 + 10),
        (press(updated_at_ms=SENT_MS + 2_000, outcome=INTERRUPTED), 50, 100 + 10),
    ],
    ids=[
        "hung up at once",
        "our time-out",
        "no answer after a while",
        "waited for a connection, then hung up",
        "killed",
        "killed, long ago",
        "a slow server",
    ],
)
def test_a_request_has_all_its_time(submission: Submission, slowest_s: int, ends_s: int) -> None:
    """Its time-out since the latest moment at which it can have left; or twice the slowest answer. A window takes 30 s more."""
    ends = partial(
        could_have_ended_ms, submission, timeout_ms=60_000, margin_ms=10_000, slowest_ms=1000 * slowest_s
    )
    assert ends() == SENT_MS + 1000 * ends_s
    assert ends(may_open_modal=True) == SENT_MS + 1000 * ends_s + MODAL_MS


def test_a_look_teaches_order_lag_marks_and_the_slowest_answer() -> None:
    known = tuple(
        ours(number, LATE_MS - 1_000 * (5 - number), took_ms=100 * number) for number in range(1, 5)
    )
    learned = learn(ListFacts(), listing(*(shown(one) for one in reversed(known)), known=known))
    assert learned.order == "newest first"
    assert learned.lag_ms == 4_000
    assert learned.marks == {"action": True}
    assert (learned.slowest_ms, learned.most_entries, learned.is_cut) == (400, 4, False)


def test_what_contradicts_a_habit_replaces_it() -> None:
    """A task of ours that is missing for a minute makes a list slow that was quick; an older one that is missing makes it cut."""
    quick = ListFacts(lags_ms=(100,) * 8, timed_until_ms=SENT_MS, marks={"action": True})
    missing = ours(3, LATE_MS - 60_100)
    learned = learn(quick, listing(task("t1"), known=(OLD, missing)))
    assert learned.lag_ms == 60_000
    assert learned.marks == {"action": False}
    older = ours(4, SENT_MS - 600_000)
    assert learn(quick, listing(shown(OLD), known=(older, OLD))).is_cut


def row_of(one: Ours) -> TaskRow:
    return msgspec.structs.replace(
        tasks.blank("main", one.task_id, one.known_ms), submission_id=one.submission_id
    )


def test_a_task_that_is_listed_under_another_name_counts() -> None:
    """A relay lists the id behind its own: the row is the same."""
    found = Listing(
        asked_ms=LATE_MS,
        tasks=(task("behind-1", state=mark(1)), task("behind-2", state=mark(2))),
        rows={"behind-1": row_of(OLD), "behind-2": row_of(WITNESS)},
        marked={"behind-1": [mark(1)], "behind-2": [mark(2)]},
        ours=(OLD, WITNESS),
    )
    assert why_not(found) == ""


@pytest.mark.parametrize(
    ("status", "moved"),
    [
        ("", False),
        ("NOT_START", False),
        ("MODAL", False),
        ("SUBMITTED", True),
        ("SUCCESS", True),
        ("FAILURE", True),
    ],
)
def test_a_window_that_still_waits_proves_no_answer(status: str, moved: bool) -> None:
    """Plus 3.7.5 shows MODAL until an answered window leaves the queue."""
    assert has_moved_on(status) is moved


def test_a_list_that_cannot_be_read_as_a_whole_teaches_only_that_it_exists() -> None:
    """What it seems to lack may be what cannot be read."""
    known = ListFacts(is_missing=True, most_entries=1)
    found = listing(shown(WITNESS), shown(OLD), unread=1)
    assert learn(known, found) == ListFacts(is_missing=False, most_entries=1)
