"""The answer to a modal continues the modal's own task, unless it made another task."""

from __future__ import annotations


def made_another_task(answer: str) -> str:
    """A condition: this answer (a submission of kind "modal") made a task with an id of its own, as at some relays.

    `answer` is the name of its table, or the alias.
    """
    return f"""EXISTS (
      SELECT 1 FROM tasks AS made WHERE made.submission_id = {answer}.id AND made.id <> {answer}.parent_id
    )"""
