"""Forged callbacks, as somebody who knows a hook may send them. A fetch still returns the true task."""

from __future__ import annotations

from msgspec.structs import replace

from midjourney.sandbox import chance
from midjourney.sandbox.buttons import buttons_after
from midjourney.sandbox.wire import Task

WORDS = "the forger's words"
"""The text in every field that a forged callback invents."""


def forged(task: Task, number: int) -> list[Task]:
    """The forgery with this number for a task (they repeat after six), and the same forgery for a task that does not exist."""
    forgery = _FORGERIES[number % len(_FORGERIES)](task)
    return [forgery, replace(forgery, id=str(int(task.id) + 10**13 + number))]


def _other_words(task: Task) -> Task:
    return replace(_success(task), prompt=WORDS, prompt_en=WORDS)


def _other_action(task: Task) -> Task:
    return replace(_other_words(task), action="DESCRIBE")


def _other_answer(task: Task) -> Task:
    done = _success(task)
    return replace(done, state=WORDS, properties=done.properties | {"finalPrompt": WORDS})


def _invented_buttons(task: Task) -> Task:
    return replace(_success(task), buttons=buttons_after("imagine", chance.uuid("forged", task.id), "7"))


def _failure(task: Task) -> Task:
    return replace(task, status="FAILURE", progress="", fail_reason=WORDS, buttons=())


def _cancel(task: Task) -> Task:
    return replace(task, status="CANCEL", progress="", buttons=())


def _success(task: Task) -> Task:
    return replace(task, status="SUCCESS", progress="100%", finish_time=task.start_time or task.submit_time)


_FORGERIES = (_other_words, _other_action, _other_answer, _invented_buttons, _failure, _cancel)
