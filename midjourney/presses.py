"""Turns a selection of buttons ("U*", "V2", a customId) into the requests that press them in a dialect.

The same rules work for all dialects: if a dialect sends no buttons, a finished grid gets those that it has in Discord (U1 to U4,
V1 to V4, reroll), without customIds, and a press is a `change`.
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
    """One press: the button's short name, the request, and the action of the task it will make ("" if unknown).

    `is_pressed`: the task shows that it was pressed already.
    """

    label: str
    request: Request
    action: str
    is_pressed: bool = False


def with_buttons(task: Task, dialect: Dialect) -> Task:
    """The task with the buttons that its dialect does not send; the task unchanged if it has buttons, or needs none."""
    if (
        dialect.presses != "change"
        or task.buttons
        or task.status != Status.SUCCESS
        or task.action not in _GRIDS
    ):
        return task
    return msgspec.structs.replace(task, buttons=_OF_A_GRID)


def lacks_buttons(task: Task, dialect: Dialect) -> bool:
    """True if a finished grid lacks the buttons that servers of this dialect send with it."""
    return (
        dialect.presses == "action"
        and task.status == Status.SUCCESS
        and task.action in _GRIDS
        and not task.is_grid
    )


def presses(task: Task, wanted: str, dialect: Dialect) -> list[Press]:
    """The requests that press the buttons which `wanted` selects on this task, in the order of its buttons.

    Empty if the task may have ended with an unknown status, which is not SUCCESS.
    """
    if task.unknown_end:
        return []
    return [
        Press(
            label=button.name,
            request=request,
            action=action_of(button.kind),
            is_pressed=button.pressed,
        )
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
    """The lane of a request: upscales of one grid share a lane if the dialect can swap their results; otherwise "".

    Source: Plus 3.7.5 `UpscaleSuccessHandler`, which matches the results of concurrent upscales without the image number.
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
    """True if this presses one of the four U-buttons, which never open a modal."""
    match request:
        case Action():
            return Button(custom_id=request.custom_id).kind == "upscale"
        case Change():
            return request.action == "UPSCALE"
        case SimpleChange():
            return as_change(request).action == "UPSCALE"
        case _:
            return False
