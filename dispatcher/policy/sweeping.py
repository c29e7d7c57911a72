"""Finds the tasks in an upstream's list whose callbacks hookchain should have had. Pure: a list and our secrets in, values out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import msgspec

from dispatcher.policy.marked_tasks import Known, mark_of
from midjourney.types import Task

_REGISTERED = re.compile(
    rb"(?:/|%2F)notify(?:\\?/|%2F)([A-Za-z0-9_-]{24})(?![A-Za-z0-9_-]|(?:\\?/|%2F)[0-9a-f]{24})",
    re.IGNORECASE,
)
"""A registered hook, wherever a payload echoes it: see `marked_tasks`. What follows a submission's is its id."""


class OursListed(msgspec.Struct, frozen=True):
    """A task that carries a hook of ours. `mark`: the submission's whose hook it is, "" if it is the registered one."""

    task: Task
    mark: str


def ours_in(listed: Iterable[Task], known: Known, tokens: Collection[str], since_ms: int) -> list[OursListed]:
    """The listed tasks with a hook of ours, the oldest first, as far as they are news: those that ended before `since_ms` are not,
    nor those whose age is unknown. `tokens`: those of the hook that is registered at this upstream."""
    found = [OursListed(task, mark_of(task, known)) for task in listed if _is_young(task, since_ms)]
    ours = [one for one in found if one.mark or has_registered_hook(one.task, tokens)]
    return sorted(ours, key=lambda one: one.task.submit_time_ms or 0)


def has_registered_hook(task: Task, tokens: Collection[str]) -> bool:
    """True if a task names our registered hook."""
    return any(token.decode() in tokens for token in _REGISTERED.findall(task.raw))


def _is_young(task: Task, since_ms: int) -> bool:
    if not task.is_finished:
        return True
    ended_ms = task.finish_time_ms or task.submit_time_ms
    return ended_ms is not None and ended_ms >= since_ms
