"""How something is submitted beside what it is: the words that every method of a chain takes, and their bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

LONGEST_DELAY_S = 30 * 24 * 3600
"""What is to be done later is done within 30 days."""

HIGHEST_PRIORITY = 100
"""Either way; see PRIORITY_MS in storage/staging.py for what one step is."""


class How(TypedDict, total=False):
    """How something is submitted.

    `again` counts deliberate repetitions; `after` is in seconds, up to 30 days; a higher `priority`, from -100 to 100,
    goes before a lower one; `state` is a word of yours that comes back as `task.state`; `upstream` names another one than
    the task's, for what is not about a task.
    """

    again: int
    after: float
    priority: int
    state: str
    upstream: str


def mistake_in(how: Mapping[str, object]) -> str:
    """What cannot be kept of this, or "". Plugins are not always checked for types."""
    again, after, priority = how.get("again", 0), how.get("after", 0), how.get("priority", 0)
    if not isinstance(again, int) or again < 0:
        return f"again = {again!r} is no number from 0 on"
    if not isinstance(priority, int) or abs(priority) > HIGHEST_PRIORITY:
        return f"priority = {priority!r} is no whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"
    if not isinstance(after, int | float) or not 0 <= after <= LONGEST_DELAY_S:
        return f"after = {after!r} is not between 0 seconds and 30 days"
    return ""
