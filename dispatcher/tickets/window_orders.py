"""Orders about windows: those that are opened here, because their buttons always open one, and the answers of clients."""

from __future__ import annotations

import msgspec

from dispatcher.by_hand import commands
from dispatcher.tickets import targets
from dispatcher.tickets.answers import FAILED, LIMIT, REFUSED, prompt_in_window
from dispatcher.tickets.desk import (
    Declined,
    Desk,
    Placed,
    check_limits,
    new_ticket,
    submit,
    target_of,
    use_blobs,
)
from dispatcher.tickets.orders import Order, renamed
from midjourney.buttons import Button
from midjourney.requests import Action, Modal, Request, encode_request
from midjourney.types import Task
from storage.engine import Connection
from storage.records import Ticket, beginning
from storage.tickets import tickets


def open_window(
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
    check_limits(connection, desk.client, now_ms)
    prompt = prompt_in_window(button, parent)
    ticket = msgspec.structs.replace(
        new_ticket(order, desk, upstream, now_ms),
        parent_id=parent.id,
        custom_id=request.custom_id,
        prompt=beginning(prompt),
        is_window=True,
    )
    return Placed(tickets.add(connection, ticket, desk.upstreams), prompt=prompt)


def answer(connection: Connection, order: Order, request: Modal, desk: Desk, now_ms: int) -> Placed:
    """The client's answer to a window, which takes one: a second answer gets the ticket of the first."""
    ticket = tickets.held(connection, desk.client.name, request.task_id)
    if ticket is None:
        target = target_of(connection, request.task_id, desk, now_ms)
        return submit(connection, order, renamed(request, target.task_id), target.upstream, desk, now_ms)
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
            connection, press, ticket, desk, now_ms, own_key=tickets.key_of_window(ticket.upstream, ticket.id)
        )
    else:
        opened = _open_task(connection, ticket, desk, now_ms)
        _staged(connection, msgspec.structs.replace(request, task_id=opened), ticket, desk, now_ms)
    # The answer to a window that is still to be opened has no submission of its own yet.
    use_blobs(connection, request, submission_id)
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
