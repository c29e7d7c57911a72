"""What a hook is told after some of its messages were given up."""

from __future__ import annotations

import pytest

from dispatcher.tickets.clients import Client
from dispatcher.tickets.telling import LAST, message_about
from storage.records import Event, TaskRow, Ticket
from storage.tickets.audience import GONE
from storage.tickets.known import Known

ANN = Client(name="ann")
GIVEN_UP, LATER = 7, 9
"""The event whose messages were given up, and a later one."""


def of(status: str, told_status: str) -> Known:
    """A ticket whose task has this status."""
    has_ended = status in ("SUCCESS", "FAILURE")
    row = TaskRow(
        upstream="main", id="t", status=status, progress=100 if has_ended else 46, action="IMAGINE", chain_id=None,
        submission_id=None, parent_id="", depth=0, created_at_ms=0, updated_at_ms=0, looked_at_ms=None, misses=0,
        finished_at_ms=1 if has_ended else None,
    )  # fmt: skip
    ticket = Ticket(
        id="1", client="ann", kind="imagine", upstream="main", hook="http://h/", told_status=told_status, created_at_ms=0
    )  # fmt: skip
    return Known(ticket=ticket, task=row, payload=b'{"id":"t","status":"%s"}' % status.encode())


def event(number: int, signal: str) -> Event:
    return Event(
        id=number, upstream="main", task_id="t", submission_id="", source="callback", signal=signal, action="", status="",
        progress=None, advanced=True, detail="", payload=b"", received_at_ms=0, generation=0,
    )  # fmt: skip


def told(known: Known, about: Event) -> str | None:
    standing = message_about(known, about, ANN)
    return standing.status if standing is not None else None


def test_a_hook_that_missed_a_message_hears_the_end() -> None:
    """It refused SUBMITTED for a minute, and takes messages again: progress passes by, and most clients wait for the end alone."""
    missed = f"{GONE}{GIVEN_UP}"
    assert told(of("IN_PROGRESS", missed), event(LATER, "task.progressed")) is None
    assert told(of("SUCCESS", missed), event(LATER, "task.succeeded")) == "SUCCESS"
    assert told(of("FAILURE", missed), event(LATER, "task.failed")) == "FAILURE"


@pytest.mark.parametrize("status", ["IN_PROGRESS", "SUCCESS"])
def test_a_hook_that_wants_no_more_hears_no_more(status: str) -> None:
    """Until a person has the message sent again: it says how the task stands then."""
    gone = of(status, f"{GONE}{GIVEN_UP}{LAST}")
    signal = "task.succeeded" if status == "SUCCESS" else "task.progressed"
    assert told(gone, event(LATER, signal)) is None
    again = told(gone, event(GIVEN_UP, "submission.accepted"))
    assert again == ("SUCCESS" if status == "SUCCESS" else "SUBMITTED")


def test_what_was_told_is_not_told_again() -> None:
    assert told(of("SUCCESS", "SUCCESS"), event(LATER, "task.succeeded")) is None
