"""Deliveries, and the context that a receiver gets for its run."""

from __future__ import annotations

from typing import Literal

import msgspec

from storage.records.events import Event
from storage.records.members import ChainMember, ChainRoot
from storage.records.stores import StoredValues
from storage.records.submissions import Submission
from storage.records.tasks import ChainRow, TaskRow

DeliveryState = Literal["waiting", "running", "done", "dead"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The duty to run one receiver for one event. `decision` says what the receiver did; `error` holds the last traceback.

    The number of `attempts` only grows. Of these, `forgiven` were made before a person retried the delivery, and `excused`
    ended through no fault of the receiver's. `fired`: a rule's condition was met, or a plugin requested something.
    `suspected` and `deaths`: see storage/deliveries/suspects.py.
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
    forgiven: int = 0
    suspected: bool = False
    deaths: int = 0

    @property
    def tries(self) -> int:
        """The attempts that count."""
        return self.attempts - self.forgiven - self.excused


class ClaimedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to run now, with the context that its receiver gets.

    `latest` is the newest payload of the event's task, `parent` that of the task it was pressed on; b"" if unknown.
    `is_unverified`: the event or `latest` comes from a callback that the upstream has not confirmed yet; `is_parent_unverified`: so
    does `parent`. `has_acted`: the receiver acted on an earlier event with the same signal of this task. `follows`: the joins that the
    event's submission follows from. `members`: for an event that is a join, all that is in its chain. `root_id` is the task by
    which a limit per root counts; only for recorded events, "" otherwise. `root`: the first task of the chain; None if it was not read.
    `store_version` is that of `chain.store` at the claim; `store` is what it holds; None if it was not read.
    """

    delivery: Delivery
    event: Event
    task: TaskRow | None
    chain: ChainRow | None
    submission: Submission | None
    latest: bytes
    parent: bytes
    is_unverified: bool = False
    is_parent_unverified: bool = False
    has_acted: bool = False
    follows: str = ""
    members: tuple[ChainMember, ...] = ()
    root_id: str = ""
    root: ChainRoot | None = None
    store_version: int = 0
    store: StoredValues | None = None

    @property
    def is_root(self) -> bool:
        """True if the event is about the first task of its chain, or about the submission that makes it."""
        chain, submission = self.chain, self.submission
        if chain is None:
            return False
        if not chain.root_task_id:
            return submission is not None and submission.depth == 0
        return (chain.upstream, chain.root_task_id) == (self.event.upstream, self.event.task_id)

    @property
    def maker_id(self) -> str:
        """The submission that made the event's task, or is to make it; "" if none of ours did."""
        if self.task is not None:
            return self.task.submission_id or ""
        return self.submission.id if self.submission is not None else ""

    @property
    def is_task_unverified(self) -> bool:
        """True if only callbacks have named the task, so that it may be invented."""
        task = self.task
        return self.is_unverified and (task is None or (task.submission_id is None and not task.confirmed))
