"""Tickets: what a client of the gateway ordered."""

from __future__ import annotations

import msgspec


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One order of a client, under the id that the client knows.

    `submission_id` is the submission whose task it shows; "" for a window that the gateway opened itself, until the client
    answers. Several tickets may share a submission: a button is paid for once. `task_id` is the upstream's id, "" until it is
    known. `state` and `hook` are the client's own. `is_window`: it waits for the client's answer, which `answer` then holds as
    an encoded request. `fail_reason`: why it ended without the upstream, or "". `told_status` and `told_progress`: the last that
    its hook was told. `answered_at_ms`: when the answer to the order was written; None before. `chosen`: why its first account was
    chosen, for people; "" if nothing was to be chosen.
    """

    id: str
    client: str
    kind: str
    upstream: str
    submission_id: str = ""
    task_id: str = ""
    parent_id: str = ""
    custom_id: str = ""
    action: str = ""
    prompt: str = ""
    digest: str = ""
    idempotency_key: str = ""
    state: str = ""
    hook: str = ""
    is_window: bool = False
    answer: bytes = b""
    fail_reason: str = ""
    told_status: str = ""
    told_progress: int = -1
    created_at_ms: int
    answered_at_ms: int | None = None
    ended_at_ms: int | None = None
    chosen: str = ""
