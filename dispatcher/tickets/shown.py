"""The task as a client of the gateway sees it: the upstream's newest payload under the client's own id, `state` and hook. Pure.

Clients poll until a status that they know, and some read every key (the table of clients in docs/gateway.md). So a task always has
all keys, a status that every client knows, and an end with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.tickets.orders import written_as
from midjourney.bodies import container_of
from midjourney.decode import decode_answer, kept_task
from midjourney.errors import Undecodable
from midjourney.redact import redacted
from midjourney.requests import decode_request, kind_of
from midjourney.statuses import NO_STATUSES, TERMINAL, Status
from midjourney.types import Task
from midjourney.wrapping import unwrapped
from storage.records import Submission, TaskRow
from storage.tickets.known import Known

KEYS = (
    "id",
    "action",
    "status",
    "prompt",
    "promptEn",
    "description",
    "state",
    "submitTime",
    "startTime",
    "finishTime",
    "progress",
    "imageUrl",
    "failReason",
    "buttons",
    "properties",
)
"""The keys that a task always has."""

FORGOTTEN = "the upstream does not know the task any more"
REMOVED = "it has ended, and what became of it has been removed"
CANCELLED = "the task was cancelled"
FAILED = "the upstream gave no reason"

_ENDED_HERE = frozenset({"rejected", "dead", "refused"})
_PENDING = frozenset({Status.NOT_START, Status.SUBMITTED, Status.IN_PROGRESS})


class Standing(msgspec.Struct, frozen=True):
    """What a client needs to know of its ticket: a status that every client knows, the percentage, and why it failed, or ""."""

    status: str
    progress: int
    fail_reason: str = ""

    @property
    def has_ended(self) -> bool:
        """True if nothing more will come."""
        return self.status in TERMINAL


def standing_of(known: Known, *, keeps_cancel: bool = False) -> Standing:
    """The standing of a ticket. `keeps_cancel`: its client knows the status CANCEL, which makes others wait for ever."""
    ticket, submission, row = known.ticket, known.submission, known.task
    if ticket.fail_reason:
        return _failed(ticket.fail_reason)
    if ticket.is_window:
        return Standing(Status.MODAL, 0)
    is_over = submission is not None and submission.state in _ENDED_HERE
    # A window stays open at the upstream after its answer was refused.
    if row is not None and row.status and known.payload and not (is_over and row.status == Status.MODAL):
        return _of_task(known, row, keeps_cancel=keeps_cancel)
    if row is not None and row.finished_at_ms is not None and row.status not in TERMINAL:
        return _failed(FORGOTTEN)
    if submission is not None and is_over and submission.outcome != "window_lost":
        return _failed(reason_of(submission, known.answer))
    if ticket.ended_at_ms is not None and submission is None:
        return _failed(REMOVED)
    return Standing(Status.NOT_START, 0)


def _of_task(known: Known, row: TaskRow, *, keeps_cancel: bool) -> Standing:
    progress = min(max(row.progress, 0), 100)
    if row.finished_at_ms is not None and not known.is_believed:
        return Standing(Status.IN_PROGRESS, min(progress, 99))
    match row.status:
        case Status.SUCCESS:
            return Standing(Status.SUCCESS, 100)
        case Status.FAILURE:
            shown = kept_task(known.payload)
            return _failed((shown.fail_reason if shown is not None else "") or FAILED, progress)
        case Status.CANCEL if keeps_cancel:
            return Standing(Status.CANCEL, progress, CANCELLED)
        case Status.CANCEL:
            return _failed(CANCELLED, progress)
        case status if status in _PENDING:
            return Standing(status, min(progress, 99))
        case Status.MODAL:
            return Standing(Status.NOT_START, 0)
        case _ if row.finished_at_ms is not None:
            return _failed(FORGOTTEN, progress)
        case _:
            return Standing(Status.IN_PROGRESS, min(progress, 99))


def _failed(reason: str, progress: int = 0) -> Standing:
    return Standing(Status.FAILURE, progress, reason)


def reason_of(submission: Submission, answer: bytes) -> str:
    """Why a submission made no task, in the upstream's words."""
    try:
        told = decode_answer(answer)
    except Undecodable:
        told = None
    if told is not None and told.description:
        return f"code {told.code}: {told.description.strip()}"
    if submission.state == "refused":
        return submission.reason
    if submission.outcome == "invalid" and submission.reason:
        # hookchain refused it, and sent nothing: the reason begins with the name of our field.
        field, colon, problem = submission.reason.partition(": ")
        name, bracket, place = field.partition("[")
        theirs = written_as(name, kind_of(decode_request(submission.request)))
        return f"{theirs}{bracket}{place}{colon}{problem}"
    return {"dead": "the upstream could not be used", "rejected": "the upstream refused it"}[submission.state]


def shown(
    known: Known, *, keeps_cancel: bool = False, statuses: Mapping[str, Status] = NO_STATUSES
) -> dict[str, object]:
    """The task as JSON. The upstream's unknown keys are kept; our own hook and mark are not among them."""
    ticket, standing = known.ticket, standing_of(known, keeps_cancel=keeps_cancel)
    payload, task = _payload(known, statuses)
    ended = standing.has_ended
    return payload | {
        "id": ticket.id,
        "action": (task.action if task is not None else "") or ticket.action,
        "status": standing.status,
        "prompt": (task.prompt if task is not None else "") or ticket.prompt or None,
        "promptEn": (task.prompt_en if task is not None else "") or ticket.prompt or None,
        "description": (task.description if task is not None else "") or _description(known),
        "state": ticket.state or None,
        "submitTime": ticket.created_at_ms,
        "startTime": task.start_time_ms if task is not None else None,
        "finishTime": _finish_time(known, task) if ended else None,
        "progress": f"{standing.progress}%",
        "imageUrl": (task.image_url if task is not None else "") or None,
        "failReason": standing.fail_reason or None,
        "buttons": _buttons(payload.get("buttons"), task) if standing.status == Status.SUCCESS else [],
        "properties": _properties(payload.get("properties"), ticket.hook),
    }


def _payload(known: Known, statuses: Mapping[str, Status]) -> tuple[dict[str, object], Task | None]:
    """The fields of the upstream's payload, and the task in it. Nothing of an end that nobody has confirmed."""
    task = kept_task(known.payload, statuses) if known.payload and known.is_believed else None
    if task is None:
        return {}, None
    fields = redacted(unwrapped(known.payload))
    return (fields, task) if isinstance(fields, dict) else ({}, task)


def _description(known: Known) -> str:
    ticket = known.ticket
    return f"/{ticket.kind} {ticket.prompt}".strip() if not ticket.custom_id else ticket.custom_id


def _finish_time(known: Known, task: Task | None) -> int | None:
    if task is not None and task.finish_time_ms:
        return task.finish_time_ms
    row = known.task
    return known.ticket.ended_at_ms or (row.finished_at_ms if row is not None else None)


def _buttons(written: object, task: Task | None) -> list[object]:
    """The buttons as the upstream wrote them if clients can read these, or else in the form that they know."""
    written = container_of(written)
    if isinstance(written, list) and all(isinstance(one, dict) and one.get("customId") for one in written):
        return written
    if task is None:
        return []
    return [
        {
            "customId": button.custom_id,
            "emoji": button.emoji,
            "label": button.label,
            "type": button.type or 2,
            "style": button.style or 2,
        }
        for button in task.buttons
        if button.custom_id
    ]


def _properties(written: object, hook: str) -> dict[str, object]:
    """The upstream's properties, with the client's hook in place of ours."""
    written = container_of(written)
    properties = written if isinstance(written, dict) else {}
    return properties | {"notifyHook": hook or None}
