"""What a row means: frozen values that the layers above work with."""

from __future__ import annotations

from typing import Literal

import msgspec

from midjourney.lifecycle import Change
from midjourney.types import Task

Source = Literal["callback", "answer", "evidence", "reconcile", "internal", "replay"]
"""Where an event came from: a sender's POST, the answer to a submit, proof found later, a question of ours, us, a
person who had an earlier one sent through again."""

DeliveryState = Literal["waiting", "running", "done", "dead"]
SubmissionState = Literal[
    "waiting",  # to be sent at run_at_ms
    "sending",  # an attempt is on disk; from here on the upstream may have it
    "accepted",
    "needs_modal",
    "existed",
    "rejected",
    "uncertain",  # nobody knows yet whether the upstream has it
    "dead",  # out of attempts; can be retried by hand
    "refused",  # by the budget; can be released by hand
]

SIGNAL_OF_CHANGE: dict[Change, str | None] = {
    Change.NOTED: None,
    Change.MODAL: "submission.needs_modal",
    Change.SUBMITTED: "task.submitted",
    Change.STARTED: "task.started",
    Change.PROGRESSED: "task.progressed",
    Change.SUCCEEDED: "task.succeeded",
    Change.FAILED: "task.failed",
    Change.CANCELLED: "task.cancelled",
}
"""The signal that a change of a task's state is told by."""


LONGEST_BEGINNING = 500
"""Characters of a prompt that are kept where people look for them. The whole is in the payload."""


def beginning(prompt: str) -> str:
    """The part of a prompt that can be looked for, without what PostgreSQL takes in no text."""
    return prompt[:LONGEST_BEGINNING].replace("\0", "")


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A task payload on its way in. `submission_id` is the one in the hook's path, or ""."""

    upstream: str
    task: Task
    submission_id: str
    source: Source
    received_at_ms: int


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an `Incoming`: the change it made, or None when it was stale."""

    change: Change | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact, immutable. `payload` is what came, byte for byte; `detail` says in words what an answer meant.

    `generation` is 0, but for what a person had replayed so that it is submitted again.
    """

    id: int
    upstream: str
    task_id: str
    submission_id: str
    source: Source
    signal: str | None
    action: str
    status: str
    progress: int | None
    advanced: bool
    detail: str
    payload: bytes
    received_at_ms: int
    generation: int


class PendingEvent(msgspec.Struct, frozen=True):
    """The part of an event that tells who hears of it.

    `chain_id` and `parent_id` are its task's: None while it has no chain, and where there is no task.
    """

    id: int
    upstream: str
    task_id: str
    signal: str
    action: str
    chain_id: str | None
    parent_id: str | None


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands. `progress` is a percentage, -1 where none was ever given; `prompt` its `beginning`."""

    upstream: str
    id: str
    status: str
    progress: int
    action: str
    chain_id: str | None
    submission_id: str | None
    parent_id: str
    depth: int
    created_at_ms: int
    updated_at_ms: int
    finished_at_ms: int | None
    looked_at_ms: int | None
    misses: int
    prompt: str = ""


class ChainRow(msgspec.Struct, frozen=True, kw_only=True):
    """A chain. `submissions` counts what was ever staged in it, which is what its budget limits; `prompt` is its root's."""

    id: str
    upstream: str
    root_task_id: str
    submissions: int
    created_at_ms: int
    prompt: str = ""


class ChainUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain has used up: submissions in all, and those the same receiver asked for.

    `last_hour` is what its upstream was asked for in the last hour, by whatever chain.
    """

    submissions: int
    by_same_receiver: int
    last_hour: int = 0


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A submission somebody asks for. `chain_id` "" starts a new chain; `request` is as `encode_request` stores it.

    Of those in one `lane` only one is under way at a time, until the task it made has ended. A higher `priority` goes
    before a lower one. It is sent `delay_ms` after it was staged at the earliest.
    """

    idempotency_key: str
    chain_id: str
    upstream: str
    kind: str
    label: str
    request: bytes
    parent_id: str
    depth: int
    asked_by: str
    lane: str = ""
    priority: int = 0
    delay_ms: int = 0


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a `Staged`: `created` False means the intent had its submission already.

    `refused` holds the reason where the budget did not allow it; then the submission waits for a person.
    """

    submission_id: str
    chain_id: str
    created: bool
    refused: str = ""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """The duty to make one request at an upstream. `task_ids` are the tasks it made or found.

    `forgiven` of its `attempts` were before a person had it tried again; `repeats` counts how often the same intent was
    asked for once more, which cost nothing.
    """

    id: str
    idempotency_key: str
    chain_id: str
    upstream: str
    kind: str
    label: str
    request: bytes
    parent_id: str
    depth: int
    asked_by: str
    lane: str
    priority: int
    queue_at_ms: int
    state: SubmissionState
    outcome: str
    reason: str
    task_ids: tuple[str, ...]
    attempts: int
    forgiven: int
    repeats: int
    run_at_ms: int
    started_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int

    @property
    def tries(self) -> int:
        """The attempts that count."""
        return self.attempts - self.forgiven


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a submission. `outcome` is "sending" until its answer, or the lack of one, was recorded."""

    submission_id: str
    number: int
    started_at_ms: int
    finished_at_ms: int | None
    http_status: int | None
    outcome: str
    reason: str
    answer: bytes


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The duty to run one receiver for one event. `decision` says what it did; `error` holds the last traceback.

    `excused` of the `attempts` do not count: they ended since the upstream could not be asked. `fired` tells whether a
    rule's condition was met, or a plugin asked for something.
    """

    id: int
    event_id: int
    receiver: str
    lane: str
    state: DeliveryState
    attempts: int
    excused: int
    run_at_ms: int
    fired: bool
    decision: str
    error: str
    created_at_ms: int
    updated_at_ms: int


class ClaimedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to run now, with all that its receiver may look at.

    `latest` is the newest payload of the event's task, `parent` that of the task it was pressed on; b"" if unknown.
    """

    delivery: Delivery
    event: Event
    task: TaskRow | None
    chain: ChainRow | None
    submission: Submission | None
    latest: bytes
    parent: bytes


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that could not be understood, whole, with the reason."""

    id: int
    upstream: str
    submission_id: str
    content_type: str
    reason: str
    body: bytes
    received_at_ms: int
