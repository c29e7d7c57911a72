"""Records: frozen values, made from rows, that the layers above work with. Each subject has a file of its own."""

from __future__ import annotations

from storage.payloads import Payload
from storage.records.approvals import Approval, ApprovalState, ApprovalTerms, DecidedFrom, Otherwise
from storage.records.budgets import Used
from storage.records.deliveries import ClaimedDelivery, Delivery, DeliveryState
from storage.records.events import (
    ALL_SIGNALS,
    CHILDREN_DONE,
    JOINED,
    JOINS,
    PROVENANCE_OF_SOURCE,
    RESTED,
    SIGNAL_OF_CHANGE,
    STRUCK,
    Event,
    Incoming,
    PendingEvent,
    Provenance,
    Quarantined,
    Recorded,
    Source,
    is_for_one,
    origin_of,
    replay_detail,
)
from storage.records.members import ChainMember, ChainRoot, MadeBy
from storage.records.stores import StoreChange, StoredValues
from storage.records.submissions import (
    BY_CLIENT,
    BY_HAND,
    INTERRUPTED,
    MODAL_LOST,
    MOVED,
    Attempt,
    Staged,
    StageResult,
    Submission,
    SubmissionState,
    Uncertain,
)
from storage.records.tasks import LONGEST_BEGINNING, ChainRow, ChainUse, TaskRow, beginning
from storage.records.tickets import Ticket
from storage.records.timed import Timed
from storage.records.upstreams import Standing

__all__ = [
    "ALL_SIGNALS",
    "BY_CLIENT",
    "BY_HAND",
    "CHILDREN_DONE",
    "INTERRUPTED",
    "JOINED",
    "JOINS",
    "LONGEST_BEGINNING",
    "MODAL_LOST",
    "MOVED",
    "PROVENANCE_OF_SOURCE",
    "RESTED",
    "SIGNAL_OF_CHANGE",
    "STRUCK",
    "Approval",
    "ApprovalState",
    "ApprovalTerms",
    "Attempt",
    "ChainMember",
    "ChainRoot",
    "ChainRow",
    "ChainUse",
    "ClaimedDelivery",
    "DecidedFrom",
    "Delivery",
    "DeliveryState",
    "Event",
    "Incoming",
    "MadeBy",
    "Otherwise",
    "Payload",
    "PendingEvent",
    "Provenance",
    "Quarantined",
    "Recorded",
    "Source",
    "StageResult",
    "Staged",
    "Standing",
    "StoreChange",
    "StoredValues",
    "Submission",
    "SubmissionState",
    "TaskRow",
    "Ticket",
    "Timed",
    "Uncertain",
    "Used",
    "beginning",
    "is_for_one",
    "origin_of",
    "replay_detail",
]
