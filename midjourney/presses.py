"""Pressing: what a person names ("U*", "V2", a customId) as the requests that press it in a dialect."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from midjourney.buttons import action_of, choose
from midjourney.dialects import Dialect
from midjourney.requests import Action, Change, Request
from midjourney.types import Task


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """One press: the button's short name, the request, and the action of the task it will make ("" if unknown)."""

    label: str
    request: Request
    action: str


def presses(task: Task, wanted: str, dialect: Dialect) -> list[Press]:
    """The requests that press what `wanted` names on this task, in the order of its buttons.

    Where a dialect has no buttons, "U1" to "U4", "V1" to "V4" and "R" (or globs of these) are `change` requests.
    """
    if dialect.presses == "change":
        return _changes(task.id, wanted)
    return [
        Press(
            label=button.name,
            request=Action(task_id=task.id, custom_id=button.custom_id),
            action=action_of(button.kind),
        )
        for button in choose(task.buttons, wanted)
        if button.custom_id
    ]


def _changes(task_id: str, wanted: str) -> list[Press]:
    pattern = {"upscale": "U*", "variation": "V*", "reroll": "R"}.get(wanted, wanted.upper())
    offered = [Press(label="R", request=Change(task_id=task_id, action="REROLL"), action="REROLL")]
    for index in (1, 2, 3, 4):
        offered.append(_indexed(task_id, f"U{index}", "UPSCALE", index))
        offered.append(_indexed(task_id, f"V{index}", "VARIATION", index))
    return [
        press for press in sorted(offered, key=lambda press: press.label) if fnmatchcase(press.label, pattern)
    ]


def _indexed(task_id: str, label: str, action: str, index: int) -> Press:
    request = msgspec.convert(
        {"kind": "change", "task_id": task_id, "action": action, "index": index}, type=Change
    )
    return Press(label=label, request=request, action=action)
