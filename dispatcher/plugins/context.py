"""Builds the arguments of a receiver from a claimed delivery. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.plugins.chain import Chain, UpstreamHandle
from dispatcher.plugins.chain_tasks import tasks_of
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.roots import with_state
from midjourney.buttons import Button
from midjourney.decode import decode_answer, kept_task
from midjourney.dialects import Dialect
from midjourney.errors import Undecodable
from midjourney.presses import with_buttons
from midjourney.requests import Action, Change, Imagine, Modal, decode_request
from midjourney.types import Status, Task
from storage.records import JOINS, STRUCK, ClaimedDelivery, Event, Submission


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a signal. `action` is its sender."""

    action: str
    task: Task
    event: Event
    chain: Chain
    submission: Submission | None
    modal: OpenModal | None

    def arguments(self) -> dict[str, object]:
        """The keyword arguments a receiver gets."""
        return {
            "task": self.task,
            "event": self.event,
            "chain": self.chain,
            "submission": self.submission,
            "modal": self.modal,
        }


def context_of(
    claimed: ClaimedDelivery, handles: Mapping[str, UpstreamHandle], *, chain_type: type[Chain] = Chain
) -> Context:
    """Build the values that a receiver may read, and the chain that it may act on."""
    handle = handles[claimed.event.upstream]
    task = with_buttons(_task(claimed, handle.dialect), handle.dialect)
    modal = _open_modal(claimed, task) if claimed.event.signal == "submission.needs_modal" else None
    row, chain, submission = claimed.task, claimed.chain, claimed.submission
    seen = chain_type(
        id=chain.id if chain is not None else submission.chain_id if submission is not None else "",
        depth=row.depth if row is not None else submission.depth if submission is not None else 0,
        submissions=chain.submissions if chain is not None else 0,
        task=task,
        modal=modal,
        asked_by=claimed.delivery.receiver,
        handle=handle,
        handles=handles,
        generation=claimed.event.generation,
        root_id=chain.root_task_id if chain is not None else "",
        client=chain.client if chain is not None else "",
        event=(claimed.event.id, claimed.event.received_at_ms),
        occasion=_occasion(claimed.event),
    )
    if claimed.store is not None:
        seen.show_store(claimed.store)
    if claimed.root is not None:
        seen.show_root(_root(claimed, handles, task))
    if claimed.event.signal in JOINS:
        seen.show(tasks_of(claimed, handles))
    return Context(
        action=claimed.event.action,
        task=task,
        event=claimed.event,
        chain=seen,
        submission=submission,
        modal=modal,
    )


def _occasion(event: Event) -> str:
    """Names an occurrence for ever: what a rule requests then is one intent, whatever becomes of its event. "" for other events."""
    return f"{event.action} {event.status}" if event.signal == STRUCK else ""


def _root(claimed: ClaimedDelivery, handles: Mapping[str, UpstreamHandle], task: Task) -> Task | None:
    """The first task of the chain, whole; None if it is unknown."""
    root = claimed.root
    if root is None or claimed.is_root:
        return task if root is None else with_state(task, root.client_state, _maker(claimed))
    row, handle = root.task, handles.get(root.task.upstream if root.task is not None else "")
    if row is None or handle is None or not (root.payload or root.submission is not None):
        return None  # a row has only the beginning of the prompt
    event = msgspec.structs.replace(claimed.event, upstream=row.upstream, task_id=row.id, action=row.action)
    made = msgspec.structs.replace(
        claimed, event=event, task=row, submission=root.submission, latest=root.payload
    )
    shown = with_buttons(_task(made, handle.dialect), handle.dialect)
    return with_state(shown, root.client_state, root.submission)


def _maker(claimed: ClaimedDelivery) -> Submission | None:
    submission = claimed.submission
    return submission if submission is not None and submission.id == claimed.maker_id else None


def _task(claimed: ClaimedDelivery, dialect: Dialect) -> Task:
    """The event's task from its newest payload; without one, from the row and the submission."""
    if (shown := kept_task(claimed.latest, dialect.statuses)) is not None:
        task_id = claimed.event.task_id or shown.id  # a relay may use another id
        return _as_pressed(msgspec.structs.replace(shown, id=task_id), claimed)
    row, submission = claimed.task, claimed.submission
    request = decode_request(submission.request) if submission is not None else None
    prompt = request.prompt if isinstance(request, Imagine | Modal) else ""
    if row is None:
        action = "" if claimed.event.signal == STRUCK else claimed.event.action
        return Task(id=claimed.event.task_id, status="", action=action, prompt=prompt)
    return Task(
        id=row.id,
        status=row.status or Status.NOT_START,
        action=row.action or claimed.event.action,
        prompt=prompt,
        parent_id=row.parent_id,
    )


def _as_pressed(task: Task, claimed: ClaimedDelivery) -> Task:
    """Add the button that made the task if its payload does not name it (relays keep only two properties)."""
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
    """Give the task the `state` that the user submitted, without the mark that hookchain puts in front."""
    if task.state and not task.state.startswith(mark):
        return task  # a relay changed it, or another client submitted the task
    return msgspec.structs.replace(task, state=state)


def _open_modal(claimed: ClaimedDelivery, task: Task) -> OpenModal:
    answer = claimed.event.payload if claimed.event.source in ("answer", "replay") else b""
    return modal_of(task, answer=answer, parent=claimed.parent, submission=claimed.submission)


def modal_of(task: Task, *, answer: bytes, parent: bytes, submission: Submission | None) -> OpenModal:
    """The modal of a task in status MODAL. Its prompt is from the task, else from the answer that opened it, else from the
    parent (trueai issue 59: an Inpaint's is empty). `answer` and `parent` are payloads, b"" if there is none."""
    prompt = task.properties.final_prompt
    if not prompt and answer:
        prompt = str(_answer_properties(answer).get("finalPrompt") or "")
    picture = kept_task(parent)
    if not prompt and picture is not None:
        prompt = picture.final_prompt
    request = decode_request(submission.request) if submission is not None else None
    custom_id = request.custom_id if isinstance(request, Action) else ""
    return OpenModal(
        task_id=task.id,
        prompt=prompt,
        label=submission.label if submission is not None else "",
        kind=Button(custom_id=custom_id).kind,
        custom_id=custom_id,
        image_url=picture.image_url if picture is not None else "",
        image_width=_pixels(picture, "imageWidth"),
        image_height=_pixels(picture, "imageHeight"),
    )


def _pixels(task: Task | None, field: str) -> int:
    """A size in pixels, which newer Plus and trueai send; 0 if it is missing, null or invalid."""
    value = task.extra.get(field) if task is not None else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _answer_properties(body: bytes) -> dict[str, object]:
    try:
        return decode_answer(body).properties
    except Undecodable:
        return {}
