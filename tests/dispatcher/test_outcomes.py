"""Each way in which a request can end gives its submission one next state; all of them are here."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.policy import queue_full
from dispatcher.policy.outcomes import (
    NOT_SENT_ATTEMPTS,
    STALE_PARENT_ATTEMPTS,
    settle,
)
from midjourney.client import Reply
from midjourney.codes import Outcome, Refusal, Verdict
from midjourney.errors import InvalidRequest, NoAnswer, NotSent
from midjourney.requests import Imagine
from storage.errors import NotDurable
from storage.records import Submission
from storage.submissions.settlements import Settlement

NOW_MS = 1_000_000

ANSWERS = {
    (Outcome.ACCEPTED, None): ("accepted", "submission.accepted"),
    (Outcome.QUEUED, None): ("accepted", "submission.queued"),
    (Outcome.NEEDS_MODAL, None): ("needs_modal", "submission.needs_modal"),
    (Outcome.EXISTED, None): ("existed", "submission.existed"),
    (Outcome.UNCERTAIN, None): ("uncertain", "submission.uncertain"),
    (Outcome.REJECTED, Refusal.QUEUE_FULL): ("waiting", None),
    (Outcome.REJECTED, Refusal.STALE_PARENT): ("waiting", None),
    (Outcome.REJECTED, Refusal.AUTH): ("dead", "submission.dead"),
    (Outcome.REJECTED, Refusal.FINAL): ("rejected", "submission.rejected"),
}
ERRORS = [
    (InvalidRequest("prompt", "is empty"), ("rejected", "submission.rejected")),
    (NotSent("no connection"), ("waiting", None)),
    (NotDurable("the disk is full"), ("waiting", None)),
    (NoAnswer("it hung up"), ("uncertain", "submission.uncertain")),
]


def submission(tries: int = 1) -> Submission:
    values: dict[str, Any] = dict.fromkeys(Submission.__struct_fields__, 0)
    return Submission(**values | {"attempts": tries, "kind": "imagine", "parent_id": ""})


def settled(end: Any, tries: int = 1) -> Settlement:
    return settle(submission(tries), Imagine(prompt="a cat"), end, now_ms=NOW_MS, luck=0.5)


def reply(outcome: Outcome, refusal: Refusal | None = None, **verdict: Any) -> Reply:
    understood = Verdict(outcome=outcome, refusal=refusal, ids=("1",), **verdict)
    return Reply(status=200, body=b"{}", verdict=understood, message="code 1: ok")


def test_the_table_has_all_outcomes_and_refusals() -> None:
    """A new one fails here until somebody decides what becomes of its submission."""
    assert {outcome for outcome, _ in ANSWERS} == set(Outcome)
    assert {refusal for _, refusal in ANSWERS} == {None, *Refusal}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_settles_its_attempt(answer: tuple[Outcome, Refusal | None]) -> None:
    """Refusals that pass by themselves wait; only what was not refused names its task."""
    found = settled(reply(*answer))
    assert (found.state, found.signal) == ANSWERS[answer]
    assert (found.run_at_ms > NOW_MS) == (found.state == "waiting")
    assert found.task_ids == (() if answer[0] is Outcome.REJECTED else ("1",))


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_an_error_settles_its_attempt(error: Exception, expected: tuple[str, str | None]) -> None:
    """What cannot have arrived is sent again; what may have arrived never is."""
    found = settled(error)
    assert (found.state, found.signal) == expected
    assert found.task_ids == ()


@pytest.mark.parametrize(
    ("end", "most", "after"),
    [
        (reply(Outcome.REJECTED, Refusal.QUEUE_FULL), queue_full.ATTEMPTS, "dead"),
        (reply(Outcome.REJECTED, Refusal.STALE_PARENT), STALE_PARENT_ATTEMPTS, "rejected"),
        (NotSent("no connection"), NOT_SENT_ATTEMPTS, "dead"),
    ],
)
def test_what_waits_has_a_last_try(end: Any, most: int, after: str) -> None:
    """The last one ends it, the one before does not."""
    assert [settled(end, tries).state for tries in (most - 1, most)] == ["waiting", after]


def test_a_full_queue_is_asked_again_when_it_says() -> None:
    """Retry-After of 30 seconds, with jitter."""
    found = settled(reply(Outcome.REJECTED, Refusal.QUEUE_FULL, retry_after_s=30))
    assert found.run_at_ms == NOW_MS + 30_000
