"""Events, the payloads that they are made from, and quarantined bodies."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from midjourney.lifecycle import Change
from midjourney.types import Task
from storage.payloads import Payload

Source = Literal["callback", "answer", "evidence", "reconcile", "internal", "replay"]
"""Where an event came from: a sender's POST, the answer to a submit, evidence found later, a poll or readback, hookchain
itself, or a person who replayed an earlier event."""

Provenance = Literal["callback", "confirmed", "refuted", "answer", "polled", "internal"]
"""Who vouches for an event: a sender alone (unverified), a sender whom the upstream confirms or contradicts, the upstream
itself (its answer to a submit, or to a poll), or hookchain."""

PROVENANCE_OF_SOURCE: dict[Source, Provenance] = {
    "callback": "callback",
    "answer": "answer",
    "evidence": "polled",
    "reconcile": "polled",
    "internal": "internal",
    "replay": "internal",
}

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
"""The signal for each change of a task's state."""

ALL_SIGNALS = frozenset(signal for signal in SIGNAL_OF_CHANGE.values() if signal is not None)
"""The signals that a callback can give."""


RESTED = "chain.rested"
CHILDREN_DONE = "children.done"
JOINS = frozenset({RESTED, CHILDREN_DONE})
"""The signals that several ends give together (storage/joins/)."""

STRUCK = "clock.struck"
"""The signal of an occurrence: a rule with `every` is due. Its event's `action` is the rule's name, and its `status` the time."""

JOINED = frozenset({"task.succeeded", "task.failed", "task.cancelled"})
"""Signals of tasks after which a join may be due. Every signal of a submission, and task.lost, is fanned out in any case."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A task payload to be stored. `submission_id` is the one in the hook's path, or ""."""

    upstream: str
    task: Task
    submission_id: str
    source: Source
    received_at_ms: int


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of storing an `Incoming`: the change it made, or None if it was stale. `asks`: the upstream must be polled
    about its task at once. `lacks_submission`: it names a submission that this database never had, or has not sent. `is_new`: its task was not
    known before. `is_copy`: its body was stored already.
    """

    change: Change | None
    asks: bool = False
    lacks_submission: bool = False
    is_new: bool = False
    is_copy: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact, immutable. `payload` holds the bytes as received; b"" if `detail` names an event with the same payload.
    For an answer `detail` also says what it means.

    `generation` is 0, except for events that a person replayed so that their submissions are made again.
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
    payload: Payload
    received_at_ms: int
    generation: int
    provenance: Provenance | Literal[""] = ""

    def __post_init__(self) -> None:
        if not self.provenance:  # written by a release without this column
            msgspec.structs.force_setattr(self, "provenance", PROVENANCE_OF_SOURCE[self.source])


_REPLAY = re.compile(r"replay of event (\d+)(?:, first (\d+))?(, forced)?(?:, only (.+))?", re.DOTALL)


def replay_detail(event: Event, *, force: bool, only: str) -> str:
    """The `detail` of a replay of an event."""
    first = origin_of(event)
    parts = [
        f"replay of event {event.id}",
        f"first {first}" if first != event.id else "",
        "forced" if force else "",
        f"only {only}" if only else "",
    ]
    return ", ".join(filter(None, parts))


def origin_of(event: Event) -> int:
    """The id of the event of which this one is a replay, or its own. A forced replay is an event of its own."""
    replay = _replay_of(event)
    return int(replay[2] or replay[1]) if replay is not None and not replay[3] else event.id


def is_for_one(event: Event) -> bool:
    """True for a replay that a person made for a single receiver."""
    replay = _replay_of(event)
    return replay is not None and replay[4] is not None


def _replay_of(event: Event) -> re.Match[str] | None:
    return _REPLAY.fullmatch(event.detail) if event.source == "replay" else None


class PendingEvent(msgspec.Struct, frozen=True):
    """The part of an event that decides which receivers get it.

    `chain_id` and `parent_id` are its task's: None while the task has no chain, and if there is no task.
    """

    id: int
    upstream: str
    task_id: str
    signal: str
    action: str
    source: Source
    chain_id: str | None
    parent_id: str | None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A body that could not be understood, with secrets removed, and the reason.

    `body_bytes` is the size as received; `is_cut`: `body` is only its beginning. An equal body arrived `count` times, the last
    time at `last_at_ms`.
    """

    id: int
    upstream: str
    submission_id: str
    content_type: str
    reason: str
    body: bytes
    received_at_ms: int
    body_bytes: int
    is_cut: bool
    digest: str
    count: int
    last_at_ms: int
