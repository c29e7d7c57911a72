"""The API's response bodies for stored records: one struct for each kind, which the server encodes and the command line decodes.

Names and their order are the contract of docs/reference/http.md. Times are RFC 3339 in UTC. Lists are paged; `cursor` is None on
the last page.
"""

from __future__ import annotations

import msgspec


class Button(msgspec.Struct, frozen=True, kw_only=True):
    """A button of a task."""

    name: str
    kind: str
    index: int | None
    custom_id: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task: its state, and what its newest payload showed."""

    upstream: str
    id: str
    status: str
    progress: int | None
    action: str
    prompt: str
    image_url: str
    fail_reason: str
    failure_kind: str | None
    buttons: list[Button]
    chain_id: str | None
    submission_id: str | None
    parent_id: str | None
    depth: int
    created_at: str
    updated_at: str
    finished_at: str | None


class TaskDetail(Task, frozen=True, kw_only=True):
    """A task with its newest payload, without secrets."""

    payload: object


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks, newest first."""

    tasks: list[Task]
    cursor: str | None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A submission. Images in its request are cut to their beginning."""

    id: str
    chain_id: str
    upstream: str
    kind: str
    label: str
    request: object
    parent_id: str | None
    depth: int
    asked_by: str
    state: str
    outcome: str | None
    reason: str
    failure_kind: str | None
    task_ids: list[str]
    attempts: int
    priority: int
    mode: str
    repeats: int
    run_at: str
    created_at: str
    updated_at: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a submission, with the upstream's answer."""

    number: int
    started_at: str
    finished_at: str | None
    http_status: int | None
    outcome: str
    reason: str
    answer: object


class SubmissionDetail(Submission, frozen=True, kw_only=True):
    """A submission with its attempts."""

    tries: list[Attempt]


class SubmissionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions, newest first."""

    submissions: list[Submission]
    cursor: str | None


class Pressed(msgspec.Struct, frozen=True, kw_only=True):
    """The submissions that a press has staged, one for each button that it named."""

    submissions: list[Submission]


class Uncertain(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions with an unknown outcome, newest first."""

    uncertain: list[Submission]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions that a budget refused, newest first."""

    refused: list[Submission]


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain, without its tasks. `client`: the program that submitted its root, by its name."""

    id: str
    upstream: str
    root_task_id: str | None
    submissions_used: int
    created_at: str
    client: str | None


class ChainDetail(Chain, frozen=True, kw_only=True):
    """A chain with its tasks and submissions, oldest first, and the ids of the tickets that show one of these. `untold` counts the events
    whose receivers have not all run yet. `store` is what plugins keep in it."""

    untold: int
    tasks: list[Task]
    submissions: list[Submission]
    tickets: list[str]
    store: dict[str, object]


class ChainPage(msgspec.Struct, frozen=True, kw_only=True):
    """Chains, newest first."""

    chains: list[Chain]
    cursor: str | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event, its payload without secrets."""

    id: int
    upstream: str
    task_id: str | None
    submission_id: str | None
    source: str
    provenance: str
    signal: str | None
    action: str
    status: str
    progress: int | None
    stale: bool
    detail: str
    received_at: str
    payload: object


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, newest first."""

    events: list[Event]
    cursor: str | None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A replayed event, and the id of the new event that the replay made."""

    event: int
    replayed_as: int
    forced: bool


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, with what its receiver decided and the last traceback."""

    id: int
    event_id: int
    receiver: str
    state: str
    attempts: int
    fired: bool
    decision: str
    error: str | None
    run_at: str
    created_at: str
    updated_at: str


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    cursor: str | None


class ExplainedEvent(Event, frozen=True, kw_only=True):
    """An event with its deliveries."""

    deliveries: list[Delivery]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a task, oldest first. `is_cut` is True if older events were omitted. `task` is None only for a ticket that has none."""

    task: Task | None
    made_by: SubmissionDetail | None
    events: list[ExplainedEvent]
    is_cut: bool
    asked_for: list[SubmissionDetail]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: the task it concerns, and the delivery or submission itself."""

    id: str
    kind: str
    died_at: str
    upstream: str | None
    task_id: str | None
    delivery: Delivery | msgspec.UnsetType = msgspec.UNSET
    submission: Submission | msgspec.UnsetType = msgspec.UNSET


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, the most recent first."""

    dead_letters: list[DeadLetter]
    cursor: str | None


class DeadLetterChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a dead letter after it was retried or dropped."""

    id: str
    state: str


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantined body without secrets. A list shows only its beginning."""

    id: int
    upstream: str
    submission_id: str | None
    content_type: str
    reason: str
    size_bytes: int
    is_cut: bool
    count: int
    last_at: str
    body: object
    received_at: str


class QuarantinePage(msgspec.Struct, frozen=True, kw_only=True):
    """Quarantined bodies, newest first."""

    quarantine: list[Quarantined]
    cursor: str | None


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantined body that has now been understood, and the task it is about."""

    id: int
    task_id: str


class QuarantineChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a quarantined body after it was dropped."""

    id: int
    state: str


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries were retried or dropped. `left` counts those that could still not be understood and stay in quarantine."""

    count: int
    left: int | msgspec.UnsetType = msgspec.UNSET
