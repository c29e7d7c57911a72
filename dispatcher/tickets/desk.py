"""What every order needs: who orders at which accounts, the limits of the client, and a ticket with its submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatcher.by_hand import commands
from dispatcher.policy.intent import key_of
from dispatcher.policy.outcomes import action_made
from dispatcher.tickets import targets
from dispatcher.tickets.answers import FAILED, LIMIT, NOT_FOUND, REFUSED
from dispatcher.tickets.clients import Client
from dispatcher.tickets.orders import Order, about
from dispatcher.tickets.shown import standing_of
from dispatcher.tickets.targets import Target
from midjourney.dialects import Dialect
from midjourney.requests import Imagine, Modal, Request
from storage.blobs import rows as blobs
from storage.engine import Connection
from storage.records import Ticket, beginning
from storage.submissions import submission_queue
from storage.submissions.intents import with_key
from storage.tickets import tickets
from storage.tickets.audience import announce
from storage.tickets.known import known


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


def check_limits(connection: Connection, client: Client, now_ms: int) -> None:
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


def target_of(connection: Connection, given: str, desk: Desk, now_ms: int) -> Target:
    """The task that an order is about. Raises `Declined` if there is none, or nothing can be ordered about it yet."""
    target = targets.find(connection, desk.client.name, given, desk.upstreams, now_ms)
    if target is None:
        raise Declined(NOT_FOUND, f"there is no task {given!r}")
    if target.ticket is not None and target.ticket.is_window:
        raise Declined(REFUSED, f"task {given} is a window: answer it by submit/modal")
    if not target.task_id:
        raise Declined(REFUSED, f"task {given} has not begun")
    return target


def submit(
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
        check_limits(connection, desk.client, now_ms)
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
    use_blobs(connection, request, submission.id)
    ticket = new_ticket(order, desk, upstream, now_ms)
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


def use_blobs(connection: Connection, request: Request, submission_id: str) -> None:
    """Keep the large texts of a request for its submission."""
    try:
        blobs.use(connection, request, submission_id)
    except blobs.BlobMissing as error:
        raise Declined(FAILED, str(error)) from error


def _join(connection: Connection, ticket: Ticket, now_ms: int) -> None:
    """Let a ticket catch up with a task that somebody else's press made, or is making."""
    tickets.hold_submission(connection, ticket.submission_id)
    (seen,) = known(connection, [ticket], now_ms)
    has_ended = standing_of(seen).has_ended
    if has_ended:
        tickets.end(connection, [ticket.id], now_ms)
    # Without a task its hook will be told, with all others, what the upstream answers.
    if ticket.hook and (seen.task is not None or has_ended):
        task_id = seen.task.id if seen.task is not None else ""
        announce(connection, ticket, "it joined a task that was made before", now_ms, task_id=task_id)


def new_ticket(order: Order, desk: Desk, upstream: str, now_ms: int) -> Ticket:
    """The ticket of an order, without an id and a submission."""
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
        chosen="" if about(request) else order.chosen,
        created_at_ms=now_ms,
    )
