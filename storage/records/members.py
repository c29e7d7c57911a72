"""What a chain consists of, as the receivers of joins see it."""

from __future__ import annotations

import msgspec

from storage.payloads import Payload
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
