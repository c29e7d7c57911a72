"""The options of a submission, which every method of a chain takes, and their bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypedDict

import msgspec

from midjourney.number_ranges import ranges_of

LONGEST_DELAY_S = 30 * 24 * 3600
"""The longest delay: 30 days."""

Again = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY_S)]
Priority = Annotated[int, msgspec.Meta(ge=-100, le=100)]
"""PRIORITY_MS in storage/submissions/staging.py is what one step is worth."""


class SubmitOptions(TypedDict, total=False):
    """How something is submitted.

    `again` counts deliberate repetitions. `after` is a delay in seconds, up to 30 days; `at` instead is the next such time, as "22:00
    Europe/Berlin". When it is due, it is not sent if the expression `unless` holds. A higher `priority`, from -100 to
    100, is sent first. `state` is your own text, which comes back as `task.state`. `upstream` names an upstream other than
    the task's, for a submission that is not about a task. `mode` is a speed mode that the upstream's dialect has: "fast", "relax".
    """

    again: Again
    after: Delay
    at: str
    unless: str
    priority: Priority
    state: str
    upstream: str
    mode: str


def invalid_option(options: Mapping[str, object]) -> str:
    """Describe the first option that is not a number or out of bounds; "" if all are valid. Plugins are not always
    type-checked, and API bodies come unchecked."""
    for name, allowed in ranges_of(SubmitOptions).items():
        if name in options and not allowed.has(options[name]):
            number = "a whole number" if allowed.is_whole else "a number"
            unit = " seconds (30 days)" if name == "after" else ""
            return f"{name} is {options[name]!r}; it must be {number} {allowed}{unit}"
    return ""
