"""What a chain consists of, as the receivers of joins see it, and its first task."""

from __future__ import annotations

import msgspec

from storage.payloads import Payload
from storage.records.submissions import Submission
from storage.records.tasks import TaskRow


class MadeBy(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a submission that tells what became of it. `request` is None unless it pressed a button."""

    id: str
    kind: str
    label: str
    parent_id: str
    depth: int
    upstream: str
    state: str
    outcome: str
    reason: str
    task_ids: tuple[str, ...]
    created_at_ms: int
    request: bytes | None


class ChainMember(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a chain with the submission that made it, or one of these alone. `payload` is the task's current one, b"" if there is
    none."""

    task: TaskRow | None = None
    made_by: MadeBy | None = None
    payload: Payload = b""


class ChainRoot(msgspec.Struct, frozen=True, kw_only=True):
    """The first task of a chain. `task` is None if it is unknown, or is the event's own; `payload` is its current one, b"" if there is
    none. `is_unverified`: the payload comes from a callback that the upstream has not confirmed yet. `client_state`: the `state` in
    the order of the gateway's client that made it; None if no client did."""

    task: TaskRow | None = None
    submission: Submission | None = None
    payload: Payload = b""
    is_unverified: bool = False
    client_state: str | None = None
