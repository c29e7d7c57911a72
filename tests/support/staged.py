"""Submissions for tests, asked for as a command asks for them."""

from __future__ import annotations

import msgspec

from midjourney.requests import Imagine, Request, encode_request, kind_of, parent_of
from storage.engine import Connection
from storage.records import Staged, StageResult
from storage.submissions import staging


def wanted(key: str, request: Request | None = None, **fields: object) -> Staged:
    """What is asked for: an imagine, unless it is another request."""
    request = request or Imagine(prompt=key)
    staged = Staged(
        idempotency_key=key,
        chain_id="",
        upstream="main",
        kind=kind_of(request),
        label=kind_of(request),
        request=encode_request(request),
        parent_id=parent_of(request),
        depth=0,
        asked_by="test",
    )
    return msgspec.structs.replace(staged, **fields)


def stage(connection: Connection, staged: Staged, now_ms: int = 1) -> StageResult:
    """Ask for it; no limit refuses it."""
    return staging.stage(connection, staged, refuse=lambda *_: "", now_ms=now_ms)
