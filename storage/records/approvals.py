"""Approvals: a person's decision about what a rule requested, and the terms under which it is asked for."""

from __future__ import annotations

from typing import Literal

import msgspec

ApprovalState = Literal[
    "open",  # nobody has decided, and it has not expired
    "released",  # its submissions were sent on
    "dropped",
]

Otherwise = Literal["drop", "send"]
"""What happens to submissions whose approval expires."""

DecidedFrom = Literal[
    "",  # it is open
    "link",  # the signed link of its message
    "dashboard",
    "api",
    "command line",
    "press",  # people requested all of it themselves, by pressing the same buttons
    "expiry",  # nobody decided in time
    "upstream",  # a database was restored, and the upstream shows all its tasks
]
"""Where the decision came from."""


class ApprovalTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver's submissions are held: for how long, and what happens then. `asks` are the
    receivers that send messages about it, by the suffixes of their names: each gets a delivery."""

    for_ms: int
    otherwise: Otherwise = "drop"
    asks: tuple[str, ...] = ()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One firing whose submissions are held until somebody decides. `asked_by` is its receiver ("rule:upscale").

    `decided_by` is the name of whoever decided, as far as it is known; "" otherwise.
    """

    id: str
    asked_by: str
    chain_id: str
    upstream: str
    task_id: str
    event_id: int
    state: ApprovalState
    otherwise: Otherwise
    asked_at_ms: int
    expires_at_ms: int
    decided_at_ms: int | None
    decided_by: str
    decided_from: DecidedFrom

    @property
    def is_open(self) -> bool:
        """True while it can be decided, or is about to expire."""
        return self.state == "open"
