"""The API's response bodies about the gateway: its clients, and their tickets.

As in answers.py, names and their order are the contract of docs/reference/http.md. None of them shows a client's `state`, a key, or more
of a hook than its host.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hooks.api.answers import Explanation, SubmissionDetail
from hooks.api.approval_answers import Approval
from hooks.api.reports import BudgetUse


class TicketHook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ticket's messages go, and how far they are: "waiting" (something is left to be told), "told" (the end is), "dead"."""

    host: str
    state: str


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a client. `id` is the id that the client knows, `task_id` the upstream's. `state` is "open", "window", "ended" or "failed";
    `status` and `progress` are what the client sees."""

    id: str
    task_id: str | None
    upstream: str
    client: str
    kind: str
    action: str
    prompt: str
    state: str
    status: str
    progress: int
    fail_reason: str | None
    parent_id: str | None
    submission_id: str | None
    chain_id: str | None
    hook: TicketHook | None
    created_at: str
    answered_at: str | None
    ended_at: str | None


class TicketPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tickets, newest first."""

    tickets: list[Ticket]
    cursor: str | None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The window of a ticket: who opened it and when, and who answered it ("client", or "hookchain" with the text in it)."""

    opened_by: Literal["hookchain", "upstream"]
    opened_at: str
    answered_by: Literal["client", "hookchain"] | None
    answered_at: str | None


class HookMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The messages about one event to a ticket's hook. `told` lists what was told and what the hook answered ("SUCCESS 100%: HTTP 200");
    it is empty while nothing was taken, and where the client knew it already. `dead_letter` is the id by which it can be sent again."""

    delivery_id: int
    event_id: int
    signal: str | None
    state: str
    attempts: int
    told: list[str]
    error: str | None
    dead_letter: str | None
    run_at: str
    created_at: str
    updated_at: str


class TicketDetail(Ticket, frozen=True, kw_only=True):
    """A ticket with all that was done for it, oldest first.

    `chosen` says why its first account was chosen. `submissions` are those that were sent for it: an order that moved to another
    account has one for each. `joined`: somebody else, whom `asked_by` of the first submission names, had ordered the task before.
    `shared_with` counts the other tickets that show the same submission.
    """

    chosen: str
    joined: bool
    shared_with: int
    window: Window | None
    submissions: list[SubmissionDetail]
    messages: list[HookMessage]


class ClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a client that is valid: in the settings ("file"), or stored, with the characters that it begins with."""

    kept: Literal["file", "stored"]
    hint: str | None
    created_at: str | None
    last_used_at: str | None
    ends_at: str | None


class ClientHook(msgspec.Struct, frozen=True, kw_only=True):
    """The messages to a host that a client's newest tickets name. Clients may share a host, and then its messages."""

    host: str
    waiting: int
    failing: int
    dead: int


class ClientPool(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of a client. `name` is that of a pool in the settings, or None."""

    name: str | None
    upstreams: list[str]
    order: str


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client of the gateway, and what it uses. `configured`: the settings have it; otherwise it has the defaults.

    `budgets` are those of its own: how much of the day it has used. `rate`, `at_once`: 0 is no limit.
    """

    name: str
    configured: bool
    tickets_today: int
    open: int
    windows: int
    queue_max: int
    at_once: int
    rate: float
    budgets: list[BudgetUse]
    last_order_at: str | None
    last_seen_at: str | None
    keys: list[ClientKey]
    pool: ClientPool
    rules: bool | list[str]
    children: str
    hook_hosts: list[str]
    hooks: list[ClientHook]


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """All clients, by name. `is_on` is False if the gateway is off."""

    is_on: bool
    clients: list[Client]


class Explained(Explanation, frozen=True, kw_only=True):
    """The history of a task, with the ticket if a ticket's id was given. A ticket without a task has its own events, and no task.
    `approvals`: those that rules needed for what they requested because of the task, if any."""

    ticket: TicketDetail | msgspec.UnsetType = msgspec.UNSET
    approvals: list[Approval] | msgspec.UnsetType = msgspec.UNSET
