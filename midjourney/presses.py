"""Pressing: what a person names ("U*", "V2", a customId) as the requests that press it in a dialect.

Rules are written once: where a dialect sends no buttons, a finished grid is given the ones it has in Discord (U1 to
U4, V1 to V4, reroll), without customIds, and pressing one is a `change`.
"""

from __future__ import annotations

import msgspec

from midjourney.buttons import Button, action_of, choose
from midjourney.dialects import Dialect
from midjourney.requests import Action, Change, Request, SimpleChange, as_change
from midjourney.types import Status, Task

_GRIDS = frozenset({"IMAGINE", "VARIATION", "REROLL", "BLEND"})
"""Actions whose result is a grid at servers without buttons (novicezk 1 to 2.6)."""

_OF_A_GRID = tuple(Button(label=label) for label in ("U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4"))


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """One press: the button's short name, the request, and the action of the task it will make ("" if unknown)."""

    label: str
    request: Request
    action: str


def with_buttons(task: Task, dialect: Dialect) -> Task:
    """The task with the buttons that its dialect does not send; the task itself where it has, or needs, none."""
    if (
        dialect.presses != "change"
        or task.buttons
        or task.status != Status.SUCCESS
        or task.action not in _GRIDS
    ):
        return task
    return msgspec.structs.replace(task, buttons=_OF_A_GRID)


def presses(task: Task, wanted: str, dialect: Dialect) -> list[Press]:
    """The requests that press what `wanted` names on this task, in the order of its buttons."""
    return [
        Press(label=button.name, request=request, action=action_of(button.kind))
        for button in choose(with_buttons(task, dialect).buttons, wanted)
        if (request := _request(task.id, button, dialect)) is not None
    ]


def _request(task_id: str, button: Button, dialect: Dialect) -> Request | None:
    if dialect.presses == "action":
        return Action(task_id=task_id, custom_id=button.custom_id) if button.custom_id else None
    action = action_of(button.kind)
    if action not in ("UPSCALE", "VARIATION", "REROLL") or button.kind not in (
        "upscale",
        "variation",
        "reroll",
    ):
        return None
    fields = {"kind": "change", "task_id": task_id, "action": action, "index": button.index}
    return msgspec.convert(fields, type=Change)


def label_of(change: Change) -> str:
    """The short name of the button that a change presses."""
    letter = {"UPSCALE": "U", "VARIATION": "V", "REROLL": "🔄"}[change.action]
    return f"{letter}{change.index or ''}"


def lane_of(request: Request, upstream: str, dialect: Dialect) -> str:
    """What must be done one after the other: the upscales of one grid, where their results can be swapped.

    "" for what may be done at any time. Source: Plus 3.7.5 `UpscaleSuccessHandler`, which matches the results of
    concurrent upscales without the image number.
    """
    if not dialect.presses_in_turn or not is_upscale(request):
        return ""
    match request:
        case Action() | Change():
            return f"{upstream}|{request.task_id}"
        case SimpleChange():
            return f"{upstream}|{as_change(request).task_id}"
        case _:
            return ""


def is_upscale(request: Request) -> bool:
    """Whether this presses one of the four U-buttons, which open no window."""
    match request:
        case Action():
            return Button(custom_id=request.custom_id).kind == "upscale"
        case Change():
            return request.action == "UPSCALE"
        case SimpleChange():
            return as_change(request).action == "UPSCALE"
        case _:
            return False
