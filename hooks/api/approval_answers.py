"""The API's response bodies about approvals, which the server encodes and the command line decodes."""

from __future__ import annotations

import msgspec

from hooks.api.answers import Submission


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may not send before somebody decides. `wants` is what is held, in plain words; `else_` is what happens at
    `expires_at`. `decided_by` is a name as far as it is known."""

    id: str
    state: str
    asked_by: str
    chain_id: str
    upstream: str
    task_id: str | None
    prompt: str
    wants: str
    price: float
    asked_at: str
    expires_at: str
    else_: str = msgspec.field(name="else")
    decided_at: str | None
    decided_by: str | None
    decided_from: str | None


class ApprovalDetail(Approval, frozen=True, kw_only=True):
    """An approval with its submissions."""

    submissions: list[Submission]


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals, newest first."""

    approvals: list[Approval]
    cursor: str | None


class ApprovalDecided(ApprovalDetail, frozen=True, kw_only=True):
    """An approval after a decision: the number of submissions that were released or dropped, and why budgets refused others."""

    moved: int
    over_budget: list[str]
