"""Submissions: the request to stage one, its result, its current state, and its attempts."""

from __future__ import annotations

from typing import Literal

import msgspec

from midjourney.failures import refusal_kind
from midjourney.requests import prompt_in

SubmissionState = Literal[
    "held",  # a person has to approve it
    "waiting",  # to be sent at run_at_ms
    "sending",  # an attempt is on disk; the upstream may have received it
    "accepted",
    "needs_modal",
    "existed",
    "rejected",
    "uncertain",  # sent, with an unknown outcome
    "dead",  # out of attempts; can be retried by hand
    "refused",  # refused by a budget; can be released by hand
]

INTERRUPTED = "interrupted"
"""Outcome of an attempt during which our own process stopped, or seemed to."""

MODAL_LOST = "window_lost"
"""Outcome of the answer to a modal that the upstream had deleted."""

MOVED = "moved"
"""Outcome of an attempt that left nothing, so that another account does the order instead."""

BY_CLIENT = "person:client "
"""Beginning of `asked_by` for what clients of the gateway ordered. They count as people: the budget of the rules is not theirs."""

BY_HAND = "person:"
"""Prefix of `asked_by` for submissions that a person requested. The budget of the rules does not apply to people."""


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A submission to be staged. `chain_id` "" starts a new chain; `request` is in the format of `encode_request`.

    Of the submissions in one `lane` only one is under way at a time, until the task that it made has ended. A higher
    `priority` goes before a lower one. It is sent no earlier than `delay_ms` after it was staged, and not before `not_before_ms`. With `terms`, whoever
    asked for it is asked again when it is due (storage/submissions/scheduled.py). `thing` identifies what is
    pressed, if that has an identity of its own: within a chain it is pressed once, whatever id its task has. `client` is the
    program that requested it, and `user` the person, if they have names. `mode` is a speed mode of the upstream's dialect; it is no
    part of the intent. `follows` are the joins that it follows from (storage/joins/follows.py). With an `approval_id`
    it is held until that is decided.
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
    not_before_ms: int = 0
    terms: str = ""
    thing: str = ""
    client: str = ""
    user: str = ""
    mode: str = ""
    follows: str = ""
    approval_id: str = ""

    def run_at_ms(self, now_ms: int) -> int:
        """When it is due at the earliest, if it is staged now."""
        return max(now_ms + self.delay_ms, self.not_before_ms)

    @property
    def is_by_hand(self) -> bool:
        """True if a person requested it."""
        return self.asked_by.startswith(BY_HAND)

    @property
    def is_first(self) -> bool:
        """True unless it deliberately repeats an earlier submission."""
        return self.idempotency_key.endswith("|0")


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of staging: `created` is False if the intent had its submission already.

    `refused` holds the reason if a budget did not allow it; a person can then release it. `released`: it had been refused
    before, and is now sent because a person requested the same. `note`: who else had requested it, and whose terms hold.
    """

    submission_id: str
    chain_id: str
    created: bool
    refused: str = ""
    released: bool = False
    note: str = ""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """The duty to make one request at an upstream. `task_ids` are the tasks that it made or found.

    The number of `attempts` only grows. Of these, `forgiven` do not count: they were made before a person retried it, or their
    request never left. `repeats` counts how often the same intent was requested again, at no cost.
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
    mode: str = ""

    @property
    def tries(self) -> int:
        """The attempts that count."""
        return self.attempts - self.forgiven

    @property
    def prompt(self) -> str:
        """The prompt that was submitted; "" for a request without one, such as a press."""
        return prompt_in(self.request)

    @property
    def failure_kind(self) -> str:
        """Why its last attempt failed, as one of `midjourney.failures.KINDS`; "" if it did not fail, or the kind is unknown.

        Does not cover the failure of its task.
        """
        return refusal_kind(self.outcome, self.reason) or ""


class Uncertain(msgspec.Struct, frozen=True):
    """An uncertain submission; its `request` is b"" unless it is a press. `times`: how many of its attempts ended as uncertain."""

    submission: Submission
    times: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a submission. `outcome` is "sending" until its answer, or the lack of one, is recorded."""

    submission_id: str
    number: int
    started_at_ms: int
    finished_at_ms: int | None
    http_status: int | None
    outcome: str
    reason: str
    answer: bytes
