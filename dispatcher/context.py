"""What a receiver is called with, made from a claimed delivery. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dispatcher.chain import Chain, Place, Window
from midjourney.buttons import Button
from midjourney.decode import decode_answer, kept_task
from midjourney.errors import Undecodable
from midjourney.presses import with_buttons
from midjourney.requests import Action, Change, Imagine, Modal, decode_request
from midjourney.types import Status, Task
from storage.records import ClaimedDelivery, Event, Submission


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a signal. `action` is its sender."""

    action: str
    task: Task
    event: Event
    chain: Chain
    submission: Submission | None
    modal: Window | None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments a receiver gets."""
        return {
            "task": self.task,
            "event": self.event,
            "chain": self.chain,
            "submission": self.submission,
            "modal": self.modal,
        }


def context_of(
    claimed: ClaimedDelivery, places: Mapping[str, Place], *, chain_type: type[Chain] = Chain
) -> Context:
    """All that a receiver may look at, and the chain it may act on."""
    place = places[claimed.event.upstream]
    task = with_buttons(_task(claimed), place.dialect)
    modal = _window(claimed, task) if claimed.event.signal == "submission.needs_modal" else None
    row, chain, submission = claimed.task, claimed.chain, claimed.submission
    return Context(
        action=claimed.event.action,
        task=task,
        event=claimed.event,
        chain=chain_type(
            id=chain.id if chain is not None else submission.chain_id if submission is not None else "",
            depth=row.depth if row is not None else submission.depth if submission is not None else 0,
            submissions=chain.submissions if chain is not None else 0,
            task=task,
            modal=modal,
            asked_by=claimed.delivery.receiver,
            place=place,
            places=places,
            generation=claimed.event.generation,
        ),
        submission=submission,
        modal=modal,
    )


def _task(claimed: ClaimedDelivery) -> Task:
    """The event's task as its newest payload showed it; without one, what the row and the submission tell."""
    if (shown := kept_task(claimed.latest)) is not None:
        return _as_pressed(shown, claimed)
    row, submission = claimed.task, claimed.submission
    request = decode_request(submission.request) if submission is not None else None
    prompt = request.prompt if isinstance(request, Imagine | Modal) else ""
    if row is None:
        return Task(id=claimed.event.task_id, status="", action=claimed.event.action, prompt=prompt)
    return Task(
        id=row.id,
        status=row.status or Status.NOT_START,
        action=row.action or claimed.event.action,
        prompt=prompt,
        parent_id=row.parent_id,
    )


def _as_pressed(task: Task, claimed: ClaimedDelivery) -> Task:
    """The task with the button that made it, where its payload does not tell (relays keep two properties)."""
    submission = claimed.submission
    if submission is None or claimed.task is None or claimed.task.submission_id != submission.id:
        return task
    request = decode_request(submission.request)
    task = _with_own_state(task, submission.id, str(request.extra.get("state", "")))
    if isinstance(request, Action) and not task.properties.custom_id:
        properties = msgspec.structs.replace(task.properties, custom_id=request.custom_id)
        return msgspec.structs.replace(task, properties=properties)
    if isinstance(request, Change) and not task.pressed_on:
        return msgspec.structs.replace(task, description=f"/up {request.task_id} {submission.label}")
    return task


def _with_own_state(task: Task, mark: str, state: str) -> Task:
    """The task with the word that it was submitted with, and without our mark before it."""
    if task.state and not task.state.startswith(mark):
        return task  # somebody else's, or a relay's
    return msgspec.structs.replace(task, state=state)


def _window(claimed: ClaimedDelivery, task: Task) -> Window:
    answer = claimed.event.payload if claimed.event.source in ("answer", "replay") else b""
    return window_of(task, answer=answer, parent=claimed.parent, submission=claimed.submission)


def window_of(task: Task, *, answer: bytes, parent: bytes, submission: Submission | None) -> Window:
    """The window of a task that waits for one: its text from the task, else from the answer that opened it, else from
    the parent (trueai issue 59: an Inpaint's is empty). `answer` and `parent` are payloads, b"" where there is none."""
    shown = task.properties.final_prompt
    if not shown and answer:
        shown = str(_answered(answer).get("finalPrompt") or "")
    behind = kept_task(parent)
    if not shown and behind is not None:
        shown = behind.final_prompt
    request = decode_request(submission.request) if submission is not None else None
    custom_id = request.custom_id if isinstance(request, Action) else ""
    return Window(
        task_id=task.id,
        prompt=shown,
        label=submission.label if submission is not None else "",
        kind=Button(custom_id=custom_id).kind,
        custom_id=custom_id,
        image_url=behind.image_url if behind is not None else "",
        image_width=_pixels(behind, "imageWidth"),
        image_height=_pixels(behind, "imageHeight"),
    )


def _pixels(task: Task | None, field: str) -> int:
    """A size as newer Plus and trueai send it; 0 where it is missing, null or nonsense."""
    value = task.extra.get(field) if task is not None else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _answered(body: bytes) -> dict[str, Any]:
    try:
        return decode_answer(body).properties
    except Undecodable:
        return {}
