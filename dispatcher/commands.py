"""What a person asks for, by API, page or command line: staged as a receiver's submission is.

A person is not held to the budget of the rules, but the intent counts all the same: a button that a rule has pressed
is not pressed, and paid for, again.
"""

from __future__ import annotations

import secrets

import msgspec

from dispatcher.budget import BY_HAND
from dispatcher.intent import has_own_key, key_of
from midjourney import wire
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.presses import label_of, lane_of, presses, with_buttons
from midjourney.requests import (
    Action,
    Cancel,
    Change,
    Modal,
    Request,
    SimpleChange,
    as_change,
    encode_request,
    kind_of,
    parent_of,
)
from storage import chains, events, staging, submissions, tasks
from storage.engine import Connection
from storage.records import Staged, StageResult, TaskRow


class CommandError(Exception):
    """What was asked for cannot be done; the message says why. `status` is the HTTP status that says it."""

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def check(request: Request, dialect: Dialect) -> None:
    """Raises `CommandError` for a request that cannot be, or that the dialect has no words for."""
    try:
        wire.check(request, dialect)
    except InvalidRequest as error:
        raise CommandError(str(error)) from error


def submit(
    connection: Connection,
    request: Request,
    *,
    upstream: str,
    dialect: Dialect,
    asked_by: str,
    now_ms: int,
    idempotency_key: str = "",
    again: int = 0,
    priority: int = 0,
    after_s: float = 0.0,
) -> StageResult:
    """Stage a submission for a person. The same `idempotency_key` gives the same submission, for ever.

    What is about a task is its own key: a button is pressed, a window answered, once, whatever key comes with it.

    Raises `CommandError` when the request is wrong, the task is not known, or did not offer the button.
    """
    check(request, dialect)
    parent_id = parent_of(request)
    row = tasks.find(connection, upstream, parent_id) if parent_id else None
    if parent_id and row is None:
        raise CommandError(f"no task {parent_id!r} at upstream {upstream!r}", status=404)
    label = _label(connection, upstream, request)
    within = secrets.token_hex(8)  # without a key of its own, every prompt is a new one
    key = key_of(upstream, request, within=within, generation=again)
    if idempotency_key and not has_own_key(request):
        key = f"{upstream}|api|{idempotency_key}"
    staged = Staged(
        idempotency_key=key,
        chain_id=(row.chain_id or "") if row is not None else "",
        upstream=upstream,
        kind=kind_of(request),
        label=label,
        request=encode_request(request),
        parent_id=parent_id,
        depth=0 if row is None else row.depth + (not isinstance(request, Modal | Cancel)),
        asked_by=f"{BY_HAND}{asked_by}",
        lane=lane_of(request, upstream, dialect),
        priority=priority,
        delay_ms=int(1000 * after_s),
    )
    if row is not None and row.chain_id is None:
        staged = _with_chain(connection, staged, row, now_ms)
    result = staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)
    if not result.created and idempotency_key and key.startswith(f"{upstream}|api|"):
        first = submissions.find(connection, result.submission_id)
        if first is not None and first.request != staged.request:
            raise CommandError(
                f"Idempotency-Key {idempotency_key!r} was used for another request: {first.id}"
            )
    return result


def press(
    connection: Connection,
    task_id: str,
    wanted: str,
    *,
    upstream: str,
    dialect: Dialect,
    asked_by: str,
    now_ms: int,
    again: int = 0,
    priority: int = 0,
    after_s: float = 0.0,
) -> list[StageResult]:
    """Press what `wanted` names on a task: a label, a glob, a kind or a customId. Raises `CommandError`."""
    shown = kept_task(events.latest_payload(connection, upstream, task_id))
    if shown is None:
        raise CommandError(f"no task {task_id!r} at upstream {upstream!r}", status=404)
    task = with_buttons(shown, dialect)
    found = presses(task, wanted, dialect)
    if not found:
        offered = ", ".join(button.name for button in task.buttons) or "none yet"
        raise CommandError(f"task {task_id} has no button {wanted!r}; it offers: {offered}")
    return [
        submit(
            connection,
            one.request,
            upstream=upstream,
            dialect=dialect,
            asked_by=asked_by,
            now_ms=now_ms,
            again=again,
            priority=priority,
            after_s=after_s,
        )
        for one in found
    ]


def _label(connection: Connection, upstream: str, request: Request) -> str:
    match request:
        case Action():
            shown = kept_task(events.latest_payload(connection, upstream, request.task_id))
            offered = shown.buttons if shown is not None else ()
            named = [button.name for button in offered if button.custom_id == request.custom_id]
            if offered and not named:
                names = ", ".join(button.custom_id for button in offered)
                raise CommandError(
                    f"task {request.task_id} has no button {request.custom_id!r}; it offers: {names}"
                )
            return named[0] if named else Button(custom_id=request.custom_id).name
        case Change():
            return label_of(request)
        case SimpleChange():
            return label_of(as_change(request))
        case _:
            return kind_of(request)


def _with_chain(connection: Connection, staged: Staged, row: TaskRow, now_ms: int) -> Staged:
    chain_id, depth = chains.adopt(connection, row.upstream, row.id, row.parent_id, now_ms)
    return msgspec.structs.replace(
        staged, chain_id=chain_id, depth=depth + (staged.kind not in ("modal", "cancel"))
    )
