"""The API's response bodies about submissions by their Idempotency-Keys. As in answers.py, names and their order are the contract."""

from __future__ import annotations

import msgspec

from hooks.api.answers import Task


class KnownSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the submission with an Idempotency-Key. `state` is "removed" if it was dropped with its chain, and "dropped" if a
    person dropped it before it left: the same request submits it after all. `cost` is its price, or 0 if it was not paid for or its task
    failed."""

    key: str
    id: str
    chain_id: str
    upstream: str
    state: str
    reason: str
    failure_kind: str | None
    cost: float
    task: Task | None


class KnownSubmissions(msgspec.Struct, frozen=True, kw_only=True):
    """The known ones of the keys that were asked about."""

    submissions: list[KnownSubmission]
