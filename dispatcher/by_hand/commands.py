"""Stages submissions that people ask for by API, page or command line, as those of receivers are staged.

People are not limited by the budget of rules, but intents count for them too: a button that a rule has pressed is not pressed, and
paid for, again.
"""

from __future__ import annotations

import secrets

import msgspec

from dispatcher.policy.intent import has_own_key, key_by_caller, key_of, thing_of
from midjourney import wire
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.modes import check_mode
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
from midjourney.types import Task
from storage.engine import Connection
from storage.events import event_log
from storage.records import BY_HAND, Staged, StageResult, TaskRow
from storage.submissions import staging, submission_queue
from storage.tasks import chains
from storage.tasks import rows as tasks


class CommandError(Exception):
    """A command cannot be carried out; the message says why. `status` is the HTTP status for the API."""

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class NotOffered(CommandError):
    """The database does not know the task, or the task has no such button. The upstream may know more about `task_id`."""

    def __init__(self, message: str, *, task_id: str, status: int = 422) -> None:
        super().__init__(message, status=status)
        self.task_id = task_id


def check(request: Request, dialect: Dialect, mode: str = "") -> None:
    """Raise `CommandError` for a request that is invalid, or that the dialect cannot express, or has no such speed mode for."""
    try:
        wire.check(request, dialect)
        check_mode(mode, dialect)
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
    mode: str = "",
    client: str = "",
    own_key: str = "",
) -> StageResult:
    """Stage a submission for a person. The same `idempotency_key` always gives the same submission.

    Requests about a task ignore the key: each button is pressed once, and each modal answered once, with any key. Only `own_key`
    makes a press an intent of its own: a window may be answered differently each time. `client` is the program that requests it.

    Raises `CommandError` if the request is invalid, the task is unknown, or the task does not offer the button.
    """
    check(request, dialect, mode)
    parent_id = parent_of(request)
    row = tasks.find(connection, upstream, parent_id) if parent_id else None
    if parent_id and row is None:
        raise NotOffered(f"no task {parent_id!r} at upstream {upstream!r}", task_id=parent_id, status=404)
    label = _label(connection, upstream, request, dialect)
    within = secrets.token_hex(8)  # without a key, every prompt is a new intent
    key = key_of(upstream, request, within=within, generation=again)
    if idempotency_key and not has_own_key(request):
        key = key_by_caller(upstream, idempotency_key)
    staged = Staged(
        idempotency_key=own_key or key,
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
        thing="" if own_key else thing_of(request, generation=again),
        client=client,
        mode=mode,
    )
    if row is not None and row.chain_id is None:
        staged = _with_chain(connection, staged, row, now_ms)
    result = staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms)
    if not result.created and idempotency_key and key == key_by_caller(upstream, idempotency_key):
        first = submission_queue.find(connection, result.submission_id)
        if first is not None and first.request != staged.request:
            raise CommandError(
                f"Idempotency-Key {idempotency_key!r} was already used for a different request: {first.id}"
            )
    return result


def press(
    connection: Connection,
    task_id: str,
    button: str,
    *,
    upstream: str,
    dialect: Dialect,
    asked_by: str,
    now_ms: int,
    again: int = 0,
    priority: int = 0,
    after_s: float = 0.0,
    mode: str = "",
) -> list[StageResult]:
    """Press the buttons of a task that `button` names: a label, a glob, a kind or a customId. Raises `CommandError`."""
    row = tasks.find(connection, upstream, task_id)
    shown = _shown(connection, upstream, row.id, dialect) if row is not None else None
    if row is None or shown is None:
        raise NotOffered(f"no task {task_id!r} at upstream {upstream!r}", task_id=task_id, status=404)
    task = with_buttons(msgspec.structs.replace(shown, id=row.id), dialect)
    matches = presses(task, button, dialect)
    if not matches:
        offered = ", ".join(shown_button.name for shown_button in task.buttons) or "none yet"
        raise NotOffered(f"task {task_id} has no button {button!r}; it offers: {offered}", task_id=row.id)
    return [
        submit(
            connection,
            found.request,
            upstream=upstream,
            dialect=dialect,
            asked_by=asked_by,
            now_ms=now_ms,
            again=again,
            priority=priority,
            after_s=after_s,
            mode=mode,
        )
        for found in matches
    ]


def _shown(connection: Connection, upstream: str, task_id: str, dialect: Dialect) -> Task | None:
    """The newest payload of a task whose buttons are to be pressed. Raises `CommandError` if they must not be."""
    shown = kept_task(event_log.latest(connection, upstream, task_id)[0], dialect.statuses)
    if shown is not None and shown.unknown_end:
        raise CommandError(f"task {task_id} cannot be pressed. {shown.oddity}")
    return shown


def _label(connection: Connection, upstream: str, request: Request, dialect: Dialect) -> str:
    match request:
        case Action():
            shown = _shown(connection, upstream, request.task_id, dialect)
            offered = shown.buttons if shown is not None else ()
            named = [button.name for button in offered if button.custom_id == request.custom_id]
            if offered and not named:
                names = ", ".join(button.custom_id for button in offered)
                raise NotOffered(
                    f"task {request.task_id} has no button {request.custom_id!r}; it offers: {names}",
                    task_id=request.task_id,
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
