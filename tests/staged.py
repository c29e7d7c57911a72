"""A submission that is there, for tests that need no more of it."""

from __future__ import annotations

from storage import staging
from storage.engine import Connection
from storage.records import Staged


def staged(connection: Connection, number: str) -> str:
    """A submission's id."""
    wanted = Staged(
        idempotency_key=number,
        chain_id="",
        upstream="main",
        kind="imagine",
        label="imagine",
        request=b"{}",
        parent_id="",
        depth=0,
        asked_by="test",
    )
    return staging.stage(connection, wanted, refuse=lambda *_: "", now_ms=1).submission_id
