"""What became of a chain, as the receivers of chain_rested and children_done see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from dispatcher.plugins.errors import GiveUp
from midjourney.buttons import Button
from midjourney.decode import kept_task
from midjourney.failures import failure_kind, refusal_kind
from midjourney.requests import Action, decode_request
from midjourney.types import Status, Task
from storage.records import ChainMember, ClaimedDelivery, MadeBy, TaskRow

if TYPE_CHECKING:
    from dispatcher.plugins.chain import UpstreamHandle

_STATES = {
    Status.SUCCESS: "succeeded",
    Status.FAILURE: "failed",
    Status.CANCEL: "cancelled",
    Status.MODAL: "needs_modal",
    "LOST": "lost",
    "REFUTED": "lost",
}
"""The state of a task by its status; any other is "running"."""


class ChainTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a chain, or a submission that made none (then `id` and `status` are "").

    `kind` is the kind of button that made it, such as "upscale", or "imagine", "blend" …; `label` the button's name. `state`: running,
    succeeded, failed, cancelled, lost, needs_modal, answered (a modal whose answer made another task), waiting, sending, uncertain,
    rejected, refused (by a budget), dead, accepted or existed. `failure` is the reason if it did not succeed, in the upstream's words,
    and `failure_kind` that reason in a word.
    """

    id: str
    kind: str
    label: str
    state: str
    status: str
    action: str
    prompt: str
    image_url: str
    failure: str
    failure_kind: str
    parent_id: str
    depth: int
    upstream: str


class TasksOfChain:
    """The part of a chain that shows its tasks. They are read for the receivers of joins only."""

    _task: Task
    _tasks: tuple[ChainTask, ...] | None = None

    def show(self, tasks: tuple[ChainTask, ...]) -> None:
        """Let receivers see these tasks."""
        self._tasks = tasks

    @property
    def tasks(self) -> tuple[ChainTask, ...]:
        """All tasks of the chain, and the submissions that made none: parents first. Raises `GiveUp` on other signals than chain_rested
        and children_done."""
        if self._tasks is None:
            raise GiveUp("chain.tasks is known to receivers of chain_rested and children_done only")
        return self._tasks

    @property
    def children(self) -> tuple[ChainTask, ...]:
        """Of `tasks`, those that were pressed on the event's task or made from it."""
        return children_of(self.tasks, self._task.id)


def tasks_of(claimed: ClaimedDelivery, handles: Mapping[str, UpstreamHandle]) -> tuple[ChainTask, ...]:
    """The tasks of the chain of an event that is a join."""
    buttons = {one.task.id: _button_of(one) for one in claimed.members if one.task is not None}
    answered = {one.made_by.parent_id for one in claimed.members if one.made_by and _is_answer(one.made_by)}
    return tuple(_chain_task(one, handles, buttons, answered) for one in claimed.members)


def children_of(tasks: Sequence[ChainTask], task_id: str) -> tuple[ChainTask, ...]:
    """The tasks that were pressed on a task, and those that the answers to its modals made."""
    modals = {one.id for one in tasks if one.parent_id == task_id and one.state == "answered"}
    return tuple(
        one
        for one in tasks
        if one.id != task_id and one.state != "answered" and one.parent_id in {task_id, *modals}
    )


def _is_answer(maker: MadeBy) -> bool:
    return maker.kind == "modal"


def _chain_task(
    member: ChainMember,
    handles: Mapping[str, UpstreamHandle],
    buttons: Mapping[str, Button],
    answered: set[str],
) -> ChainTask:
    row, maker = member.task, member.made_by
    upstream = row.upstream if row is not None else maker.upstream if maker is not None else ""
    handle = handles.get(upstream)
    shown = kept_task(member.payload, handle.dialect.statuses) if handle else kept_task(member.payload)
    parent_id = row.parent_id if row is not None else maker.parent_id if maker is not None else ""
    button = _button_of(member)
    if maker is not None and _is_answer(maker) and parent_id in buttons:
        button = buttons[parent_id]  # the answer to a modal continues what the modal's button began
    state = _state(row, maker, answered)
    failure = _failure(state, shown, maker)
    return ChainTask(
        id=row.id if row is not None else "",
        kind=_kind(button, row, maker),
        label=(maker.label if maker is not None and not _is_answer(maker) else "") or _name(button),
        state=state,
        status=row.status if row is not None else "",
        action=row.action if row is not None else "",
        prompt=shown.prompt if shown is not None else row.prompt if row is not None else "",
        image_url=shown.image_url if shown is not None else "",
        failure=failure,
        failure_kind=_failure_kind(state, failure, maker),
        parent_id=parent_id,
        depth=row.depth if row is not None else maker.depth if maker is not None else 0,
        upstream=upstream,
    )


def _button_of(member: ChainMember) -> Button:
    """The button that made a task, or an empty one: as we pressed it, else as the upstream reports it."""
    row, maker = member.task, member.made_by
    if maker is not None and maker.request is not None:
        request = decode_request(maker.request)
        if isinstance(request, Action):
            return Button(custom_id=request.custom_id, label=maker.label)
    if maker is not None and maker.kind in ("change", "simple_change"):
        return Button(label=maker.label)
    made_by = row.made_by if row is not None else ""
    return Button(custom_id=made_by) if "::" in made_by else Button(label=made_by)


def _name(button: Button) -> str:
    return button.name if button.custom_id or button.label else ""


def _kind(button: Button, row: TaskRow | None, maker: MadeBy | None) -> str:
    if (button.custom_id or button.label) and button.kind != "other":
        return button.kind
    if maker is not None and maker.kind not in ("action", "change", "simple_change", "modal"):
        return maker.kind
    return row.action.lower() if row is not None else maker.kind if maker is not None else ""


def _state(row: TaskRow | None, maker: MadeBy | None, answered: set[str]) -> str:
    if row is None:
        return maker.state if maker is not None else ""
    if row.status == Status.MODAL and row.id in answered:
        return "answered"
    return _STATES.get(row.status, "running")


def _failure(state: str, shown: Task | None, maker: MadeBy | None) -> str:
    if state in ("failed", "cancelled"):
        return shown.fail_reason if shown is not None else ""
    if state == "lost":
        return "the upstream no longer knows it"
    return maker.reason if state in ("rejected", "refused", "dead", "uncertain") and maker is not None else ""


def _failure_kind(state: str, failure: str, maker: MadeBy | None) -> str:
    if state in ("failed", "cancelled"):
        return failure_kind(failure)
    if state in ("rejected", "refused", "dead") and maker is not None:
        return refusal_kind(maker.outcome, maker.reason) or ""
    return ""
