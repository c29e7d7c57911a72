"""Takes an order: its ticket and its submission are staged in one transaction, once, however often the client sends it.

What counts as a repetition is in the notes on retries (docs/gateway.md): the same Idempotency-Key; the same body before the first
answer was written; the same upscale; a second answer to a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatcher.by_hand import commands
from dispatcher.by_hand.commands import NotOffered
from dispatcher.policy.intent import key_of
from dispatcher.policy.outcomes import action_made
from dispatcher.tickets import targets
from dispatcher.tickets.answers import FAILED, LIMIT, NOT_FOUND, REFUSED, opens_window, prompt_in_window
from dispatcher.tickets.clients import Client
from dispatcher.tickets.orders import Order, about, renamed
from dispatcher.tickets.shown import standing_of
from dispatcher.tickets.targets import Target
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.presses import label_of, presses, with_buttons
from midjourney.requests import Action, Change, Imagine, Modal, Request, SimpleChange, encode_request
from midjourney.types import Status, Task
from storage.blobs import rows as blobs
from storage.engine import Connection
from storage.events import event_log
from storage.records import Submission, Ticket, beginning
from storage.submissions import submission_queue
from storage.submissions.intents import with_key
from storage.tasks import rows as tasks
from storage.tickets import tickets
from storage.tickets.audience import announce
from storage.tickets.known import known

_FAILED_STATES = frozenset({"rejected", "dead"})


class Declined(Exception):
    """An order that is not taken; nothing of it is stored. `code` and the message are for the client."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Placed(msgspec.Struct, frozen=True):
    """The ticket of an order; `is_new` is False if the order is a repetition. `prompt` is the text in a window that was opened."""

    ticket: Ticket
    is_new: bool = True
    prompt: str = ""


class Desk(msgspec.Struct, frozen=True):
    """Who orders, at which accounts: `upstreams` are those that the client may use, the chosen one for new work first."""

    client: Client
    upstreams: Sequence[str]
    dialects: Mapping[str, Dialect]


def place(connection: Connection, order: Order, desk: Desk, now_ms: int) -> Placed:
    """Take an order. Raises `Declined`, `commands.CommandError`, and `NotOffered` if the upstream may know more than the database."""
    tickets.one_at_a_time(connection, desk.client.name)
    if (repeated := _repeated(connection, order, desk.client, now_ms)) is not None:
        return Placed(repeated, is_new=False)
    request = order.request
    if isinstance(request, Modal):
        return _answer(connection, order, request, desk, now_ms)
    if isinstance(request, Action | Change | SimpleChange):
        return _press(connection, order, desk, now_ms)
    if given := about(request):
        target = _target(connection, given, desk, now_ms)
        return _submit(connection, order, renamed(request, target.task_id), target.upstream, desk, now_ms)
    return _submit(connection, order, request, desk.upstreams[0], desk, now_ms)


def _repeated(connection: Connection, order: Order, client: Client, now_ms: int) -> Ticket | None:
    if order.idempotency_key:
        first = tickets.of_key(connection, client.name, order.idempotency_key)
        if first is not None and first.digest != order.digest:
            raise Declined(
                REFUSED, f"Idempotency-Key was already used for a different body: ticket {first.id}"
            )
        return first
    return tickets.unanswered(connection, client.name, order.digest, now_ms)


def _check_limits(connection: Connection, client: Client, now_ms: int) -> None:
    """Raises `Declined` if the client has reached one of its own limits."""
    if client.rate:
        most, over_s = max(1, round(client.rate)), max(1.0, 1 / client.rate)
        if tickets.count_since(connection, client.name, now_ms - round(1000 * over_s)) >= most:
            raise Declined(
                LIMIT, f"{client.name} may submit {client.rate:g} times a second; try again in {over_s:g} s"
            )
    if client.at_once or client.queue_max:
        waiting = tickets.count_open(connection, client.name)
        most = min(client.at_once or waiting + 1, client.queue_max or waiting + 1)
        if waiting >= most:
            raise Declined(
                LIMIT, f"{client.name} has {waiting} tasks that have not ended, and may have {most}"
            )


def _target(connection: Connection, given: str, desk: Desk, now_ms: int) -> Target:
    """The task that an order is about. Raises `Declined` if there is none, or nothing can be ordered about it yet."""
    target = targets.find(connection, desk.client.name, given, desk.upstreams, now_ms)
    if target is None:
        raise Declined(NOT_FOUND, f"there is no task {given!r}")
    if target.ticket is not None and target.ticket.is_window:
        raise Declined(REFUSED, f"task {given} is a window: answer it by submit/modal")
    if not target.task_id:
        raise Declined(REFUSED, f"task {given} has not begun")
    return target


def _press(connection: Connection, order: Order, desk: Desk, now_ms: int) -> Placed:
    target = _target(connection, about(order.request), desk, now_ms)
    upstream, dialect = target.upstream, desk.dialects[target.upstream]
    parent = _parent(connection, upstream, target.task_id, dialect)
    request, button = _as_button(parent, renamed(order.request, parent.id), dialect)
    if isinstance(request, Action) and opens_window(button) and dialect.has("modal"):
        return _open_window(connection, order, request, button, parent, upstream, desk, now_ms)
    name = request.custom_id if isinstance(request, Action) else button.name
    generation = _generation(connection, desk.client.name, upstream, request, name, button)
    return _submit(connection, order, request, upstream, desk, now_ms, again=generation, button=name)


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


def _submit(
    connection: Connection,
    order: Order,
    request: Request,
    upstream: str,
    desk: Desk,
    now_ms: int,
    *,
    again: int = 0,
    button: str = "",
) -> Placed:
    """Stage the submission of an order, and give it a ticket. What joins something that is there already counts towards no limit."""
    client = desk.client.name
    key = key_of(upstream, request, generation=again)
    if not isinstance(request, Modal) and with_key(connection, key) is None:
        _check_limits(connection, desk.client, now_ms)
    result = commands.submit(
        connection,
        request,
        upstream=upstream,
        dialect=desk.dialects[upstream],
        asked_by=f"client {client}",
        now_ms=now_ms,
        again=again,
        client=client,
    )
    if result.refused:
        raise Declined(LIMIT, result.refused)
    submission = submission_queue.find(connection, result.submission_id)
    if submission is None:
        raise Declined(FAILED, "this was done before, and has since been removed ([retention] chain_days)")
    _use_blobs(connection, request, submission.id)
    ticket = _ticket(order, desk, upstream, now_ms)
    made = msgspec.structs.replace(
        ticket,
        submission_id=submission.id,
        task_id=submission.task_ids[0] if submission.task_ids else "",
        parent_id=submission.parent_id,
        custom_id=button,
    )
    made = tickets.add(connection, made, desk.upstreams)
    if not result.created:
        _join(connection, made, now_ms)
    return Placed(made)


def _use_blobs(connection: Connection, request: Request, submission_id: str) -> None:
    """Keep the large texts of a request for its submission."""
    try:
        blobs.use(connection, request, submission_id)
    except blobs.BlobMissing as error:
        raise Declined(FAILED, str(error)) from error


def _join(connection: Connection, ticket: Ticket, now_ms: int) -> None:
    """Let a ticket catch up with a task that somebody else's press made, or is making."""
    (seen,) = known(connection, [ticket], now_ms)
    has_ended = standing_of(seen).has_ended
    if has_ended:
        tickets.end(connection, [ticket.id], now_ms)
    # Without a task its hook will be told, with all others, what the upstream answers.
    if ticket.hook and (seen.task is not None or has_ended):
        task_id = seen.task.id if seen.task is not None else ""
        announce(connection, ticket, "it joined a task that was made before", now_ms, task_id=task_id)


def _ticket(order: Order, desk: Desk, upstream: str, now_ms: int) -> Ticket:
    request = order.request
    prompt = request.prompt if isinstance(request, Imagine) else str(getattr(request, "prompt", ""))
    return Ticket(
        id="",
        client=desk.client.name,
        kind=order.kind,
        upstream=upstream,
        action=action_made(request),
        prompt=beginning(prompt),
        digest=order.digest,
        idempotency_key=order.idempotency_key,
        state=order.state,
        hook=order.hook,
        created_at_ms=now_ms,
    )


# Windows.


def _open_window(
    connection: Connection,
    order: Order,
    request: Action,
    button: Button,
    parent: Task,
    upstream: str,
    desk: Desk,
    now_ms: int,
) -> Placed:
    """Open a window here: the button always opens one, so nothing needs to be sent, or paid, before the client answers."""
    _check_limits(connection, desk.client, now_ms)
    prompt = prompt_in_window(button, parent)
    ticket = msgspec.structs.replace(
        _ticket(order, desk, upstream, now_ms),
        parent_id=parent.id,
        custom_id=request.custom_id,
        prompt=beginning(prompt),
        is_window=True,
    )
    return Placed(tickets.add(connection, ticket, desk.upstreams), prompt=prompt)


def _answer(connection: Connection, order: Order, request: Modal, desk: Desk, now_ms: int) -> Placed:
    """The client's answer to a window, which takes one: a second answer gets the ticket of the first."""
    ticket = tickets.held(connection, desk.client.name, request.task_id)
    if ticket is None:
        target = _target(connection, request.task_id, desk, now_ms)
        return _submit(connection, order, renamed(request, target.task_id), target.upstream, desk, now_ms)
    if not ticket.is_window:
        if ticket.answer:
            return Placed(ticket, is_new=False)
        raise Declined(REFUSED, f"no window waits for an answer at task {ticket.id}")
    dialect = desk.dialects[ticket.upstream]
    if Button(custom_id=ticket.custom_id).kind == "vary_region" and not request.mask:
        raise Declined(REFUSED, "maskBase64: Vary (Region) needs a mask")
    submission_id = ticket.submission_id
    if not submission_id:
        press = Action(task_id=ticket.parent_id, custom_id=ticket.custom_id)
        commands.check(msgspec.structs.replace(request, task_id=ticket.parent_id), dialect)
        submission_id = _staged(
            connection, press, ticket, desk, now_ms, own_key=f"{ticket.upstream}|window|{ticket.id}|0"
        )
    else:
        opened = _open_task(connection, ticket, desk, now_ms)
        _staged(connection, msgspec.structs.replace(request, task_id=opened), ticket, desk, now_ms)
    # The answer to a window that is still to be opened has no submission of its own yet.
    _use_blobs(connection, request, submission_id)
    answer = encode_request(msgspec.structs.replace(request, task_id=""))
    tickets.answer_window(connection, ticket.id, submission_id=submission_id, answer=answer)
    answered = msgspec.structs.replace(ticket, is_window=False, submission_id=submission_id, answer=answer)
    return Placed(answered)


def _open_task(connection: Connection, ticket: Ticket, desk: Desk, now_ms: int) -> str:
    """The upstream's id of a window that it opened."""
    target = targets.find(connection, desk.client.name, ticket.id, desk.upstreams, now_ms)
    if target is None or not target.task_id:
        raise Declined(FAILED, f"the window of task {ticket.id} is not known any more")
    return target.task_id


def _staged(
    connection: Connection, request: Request, ticket: Ticket, desk: Desk, now_ms: int, *, own_key: str = ""
) -> str:
    """Stage a submission of a window; returns its id."""
    result = commands.submit(
        connection,
        request,
        upstream=ticket.upstream,
        dialect=desk.dialects[ticket.upstream],
        asked_by=f"client {desk.client.name}",
        now_ms=now_ms,
        client=desk.client.name,
        own_key=own_key,
    )
    if result.refused:
        raise Declined(LIMIT, result.refused)
    return result.submission_id
