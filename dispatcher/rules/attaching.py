"""Which pictures a rule's notification has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from dispatcher.effects.attachments import MOST, Picture
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from dispatcher.rules.expressions import Evaluator, Names, compile_template
from dispatcher.rules.variables import Variables
from midjourney.addresses import is_link
from storage.records import JOINS, Event

Pictures = Callable[[Chain, Names], Awaitable[list[Picture]]]
"""Finds the pictures for an event."""


def pictures_of(attach: bool | str | Sequence[str], evaluator: Evaluator, variables: Variables) -> Pictures:
    """Compile `attach`: the pictures of the event, the quarters of its grid, or templates of addresses. Raises `RuleError` and `GiveUp` for a mistake."""
    if isinstance(attach, bool):
        return _of_the_event if attach else _none
    if isinstance(attach, str):
        return _quarters
    for written in attach:
        if not written.strip():
            raise GiveUp("an address in attach is empty; write attach = true for the task's picture")
        if "{" not in written and not is_link(written):
            raise GiveUp(
                f'{written[:80]!r} in attach is not an address; write "{{{{ task.image_url }}}}", or attach = true'
            )
    templates = [compile_template(written, evaluator, variables) for written in attach]

    async def named(_chain: Chain, names: Names) -> list[Picture]:
        filled = [(await template(names)).strip() for template in templates]
        return [_named(address, names) for address in filled if address]

    return named


async def _none(_chain: Chain, _names: Names) -> list[Picture]:
    return []


async def _quarters(chain: Chain, names: Names) -> list[Picture]:
    """The task's grid, to be cut; the picture of another task as it is."""
    task = names["task"]
    if task.image_url and not task.is_grid:
        chain.note(f"attached as one picture: task {task.id} is not a grid")
    picture = Picture(address=task.image_url, task_id=task.id, in_quarters=task.is_grid)
    return [picture] if task.image_url else []


async def _of_the_event(chain: Chain, names: Names) -> list[Picture]:
    """The task's picture; for a join, those of the tasks that succeeded: of a chain that is longer, the last ones."""
    event: Event = names["event"]
    if event.signal not in JOINS:
        task = names["task"]
        return [Picture(address=task.image_url, task_id=task.id)] if task.image_url else []
    tasks = chain.children if event.signal == "children.done" else chain.tasks
    found = [
        Picture(address=one.image_url, task_id=one.id if one.upstream == chain.upstream else "")
        for one in tasks
        if one.state == "succeeded" and one.image_url
    ]
    if len(found) > MOST:
        chain.note(f"the last {MOST} of {len(found)} pictures are attached")
    return found[-MOST:]


def _named(address: str, names: Names) -> Picture:
    if not is_link(address):
        raise GiveUp(f"{address[:200]!r} in attach is not an address")
    task = names["task"]
    return Picture(address=address, task_id=task.id if address == task.image_url else "")
