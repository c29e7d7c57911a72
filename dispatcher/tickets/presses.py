"""Orders that press buttons: which intent a press is, in the form of the dialect."""

from __future__ import annotations

import msgspec

from dispatcher.by_hand.commands import NotOffered
from dispatcher.policy.intent import key_of
from dispatcher.tickets.answers import opens_window
from dispatcher.tickets.desk import Desk, Placed, submit, target_of
from dispatcher.tickets.orders import Order, about, renamed
from dispatcher.tickets.window_orders import open_window
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.presses import label_of, presses, with_buttons
from midjourney.requests import Action, Change, Request
from midjourney.types import Status, Task
from storage.engine import Connection
from storage.events import event_log
from storage.records import Submission
from storage.submissions.intents import with_key
from storage.tasks import rows as tasks
from storage.tickets import tickets

_FAILED_STATES = frozenset({"rejected", "dead"})


def press(connection: Connection, order: Order, desk: Desk, now_ms: int) -> Placed:
    """Take a press. Raises as `dispatcher.tickets.ordering.place`."""
    target = target_of(connection, about(order.request), desk, now_ms)
    upstream, dialect = target.upstream, desk.dialects[target.upstream]
    parent = _parent(connection, upstream, target.task_id, dialect)
    request, button = _as_button(parent, renamed(order.request, parent.id), dialect)
    if isinstance(request, Action) and opens_window(button) and dialect.has("modal"):
        return open_window(connection, order, request, button, parent, upstream, desk, now_ms)
    name = request.custom_id if isinstance(request, Action) else button.name
    generation = _generation(connection, desk.client.name, upstream, request, name, button)
    return submit(connection, order, request, upstream, desk, now_ms, again=generation, button=name)


def _parent(connection: Connection, upstream: str, task_id: str, dialect: Dialect) -> Task:
    """The task whose button is pressed. Raises `NotOffered` if the database lacks it."""
    row = tasks.find(connection, upstream, task_id)
    shown = kept_task(event_log.latest(connection, upstream, row.id)[0], dialect.statuses) if row else None
    if row is None or shown is None:
        raise NotOffered(f"there is no task {task_id!r}", task_id=task_id, status=404)
    return with_buttons(msgspec.structs.replace(shown, id=row.id), dialect)


def _as_button(parent: Task, request: Request, dialect: Dialect) -> tuple[Request, Button]:
    """The press in the form of the dialect, and its button: `change` becomes the button where there are buttons, and the other
    way round, so that a press is the same intent however a client asks for it. Raises `NotOffered`."""
    if isinstance(request, Action) and dialect.presses == "action":
        offered = [one for one in parent.buttons if one.custom_id == request.custom_id]
        if not offered:
            raise NotOffered(f"task {parent.id} has no button {request.custom_id!r}", task_id=parent.id)
        return request, offered[0]
    assert isinstance(request, Action | Change), "the caller passes presses"
    label = Button(custom_id=request.custom_id).name if isinstance(request, Action) else label_of(request)
    wanted = (
        "reroll"
        if label == "🔄" or (isinstance(request, Action) and "reroll" in request.custom_id)
        else label
    )
    matches = presses(parent, wanted, dialect)
    if len(matches) != 1:
        raise NotOffered(f"task {parent.id} has no button {label!r}", task_id=parent.id)
    press = matches[0].request
    made = (
        msgspec.structs.replace(press, extra=request.extra) if isinstance(press, Action | Change) else press
    )
    custom_id = press.custom_id if isinstance(press, Action) else ""
    return made, Button(custom_id=custom_id, label=matches[0].label)


def _generation(
    connection: Connection, client: str, upstream: str, request: Request, name: str, button: Button
) -> int:
    """Which press of this button an order is. An upscale is made once; anything else again for each order of the same client. A
    press that failed may be repeated."""
    generation = 0
    if button.kind != "upscale":
        parent_id = request.task_id if isinstance(request, Action | Change) else ""
        ordered = tickets.of_button(connection, client, upstream, parent_id, name)
        generation = len({ticket.submission_id for ticket in ordered})
    while True:
        made = with_key(connection, key_of(upstream, request, generation=generation))
        if made is None or not _has_failed(connection, made):
            return generation
        generation += 1


def _has_failed(connection: Connection, submission: Submission) -> bool:
    if submission.state in _FAILED_STATES:
        return True
    row = tasks.find(connection, submission.upstream, submission.task_ids[0]) if submission.task_ids else None
    return row is not None and row.confirmed and row.status in (Status.FAILURE, Status.CANCEL)
