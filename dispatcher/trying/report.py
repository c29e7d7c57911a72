"""What a trial says: each submission that rules would have made and what would have become of it, and each of their decisions."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Literal

import msgspec

from storage.records import Approval, SubmissionState

Fate = Literal["sent", "waits", "held", "not sent", "refused"]
"""What becomes of a submission: it leaves; its time has not come; somebody has to approve it; it is withdrawn, or never leaves; a budget
refuses it."""

_UNSENT = frozenset({"dropped", "invalid", "withdrawn", "vetoed"})
"""Outcomes of submissions that were rejected here, so that nothing was paid."""


class Suggested(msgspec.Struct, kw_only=True):
    """One submission that a rule would have made. `refused` names the limit that would have prevented it, or is "". `held`: it would have
    waited for an approval. `state` and `why` are those at the end of the trial; `fate` sums them up, and `words` say it.

    `price` is what it costs: 0 if it is known to have cost nothing. `at_ms` is when it is asked for, `due_at_ms` when it may leave. `known`: what came of it is recorded, because it was really made.
    """

    rule: str
    chain_id: str
    upstream: str
    task_id: str
    kind: str
    label: str
    price: float
    refused: str = ""
    held: bool = False
    id: str = ""
    event_id: int = 0
    at_ms: int = 0
    due_at_ms: int = 0
    unless: str = ""
    state: SubmissionState = "waiting"
    fate: Fate = "sent"
    why: str = ""
    known: bool = False
    words: str = ""

    @property
    def is_made(self) -> bool:
        """True unless nothing leaves, now or later."""
        return self.fate in ("sent", "waits", "held")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one receiver decided about one event, in the words of the server. `event_id` is the recorded event's; 0 for one that the
    trial gave itself."""

    event_id: int
    task_id: str
    signal: str
    at_ms: int
    receiver: str
    fired: bool
    decision: str
    failed: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What the rules would have done. `limited` counts the runs that their own limit prevents; `errors` counts, by message, the events
    for which a rule failed. `fired` counts the events for which a receiver fired: "rule:NAME", or "rule:NAME/archive" for an effect,
    which is not performed. `notes` say what the trial cannot know."""

    events: int = 0
    fired: Counter[str] = msgspec.field(default_factory=Counter)
    suggested: list[Suggested] = []
    decisions: list[Decision] = []
    repeats: int = 0
    limited: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    notes: list[str] = []


def fate_of(state: SubmissionState, outcome: str, due_at_ms: int, now_ms: int) -> Fate:
    """Sum up how a submission stands."""
    if state == "refused":
        return "refused"
    if state == "held":
        return "held"
    if state == "waiting":
        return "waits" if due_at_ms > now_ms else "sent"
    return "not sent" if state == "existed" or (state == "rejected" and outcome in _UNSENT) else "sent"


def words_of(one: Suggested, approval: Approval | None) -> str:
    """What would have become of a submission, as a sentence."""
    match one.fate:
        case "refused":
            return f"would be refused: {one.refused}"
        case "held":
            until = ""
            if approval is not None:
                then = "sent" if approval.otherwise == "send" else "dropped"
                until = f" until {moment(approval.expires_at_ms)}, and then be {then}"
            return f"would be held for approval{until}; whether somebody approves it is not known"
        case "not sent":
            return f"would not be sent: {one.why.removeprefix('not sent: ')}"
        case "waits":
            asked = f", and then check `unless`: {one.unless}" if one.unless else ""
            wait_s = (one.due_at_ms - one.at_ms) / 1000
            return f"would wait {wait_s:g} s, until {moment(one.due_at_ms)}{asked}; what people press until then is not known"
    waited = f" {(one.due_at_ms - one.at_ms) / 1000:g} s later" if one.due_at_ms > one.at_ms else ""
    if one.known and one.state == "rejected":
        return f"was rejected{waited}: {one.why}, nothing paid"
    if one.known:
        return f"would be sent{waited}: {one.state}" + (f", {one.why}" if one.why else "")
    return f"would be sent{waited}; what it would lead to is not known"


def moment(time_ms: int) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
