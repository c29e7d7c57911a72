"""The options of a submission, which every method of a chain takes, and their bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, TypedDict

import msgspec

from dispatcher.policy.durations import seconds_of
from midjourney.nearest import nearest
from midjourney.number_ranges import ranges_of

LONGEST_DELAY_S = 30 * 24 * 3600
"""The longest delay: 30 days."""

Again = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY_S)]
Priority = Annotated[int, msgspec.Meta(ge=-100, le=100)]
"""PRIORITY_MS in storage/submissions/staging.py is what one step is worth."""


_MEANT = {
    "delay": "after",
    "delay_s": "after",
    "after_s": "after",
    "in_": "after",
    "wait": "after",
    "when": "after",
    "eta": "after",
    "countdown": "after",
    "seconds": "after",
    "prio": "priority",
    "urgent": "priority",
    "repeat": "again",
    "force": "again",
    "once_more": "again",
    "data": "state",
    "mark": "state",
    "account": "upstream",
    "server": "upstream",
    "speed": "mode",
    "to": "upstream",
}
"""Words that people write, and the options that they mean."""


class SubmitOptions(TypedDict, total=False):
    """How something is submitted.

    `again` counts deliberate repetitions. `after` is a delay, up to 30 days: seconds, or a text such as "10 min"; `at` instead is the next
    such time, as "22:00 Europe/Berlin". When it is due, it is not sent if the expression `unless` holds. A higher `priority`, from -100
    to 100, is sent first. `state` is your own text, which comes back as `task.state`. `upstream` names an upstream other than the
    task's, for a submission that is not about a task. `mode` is a speed mode that the upstream's dialect has: "fast", "relax".
    """

    again: Again
    after: Delay | str
    at: str
    unless: str
    priority: Priority
    state: str
    upstream: str
    mode: str


def unknown_option(options: Mapping[str, object]) -> str:
    """Describe the first option that no method takes, with the one that is probably meant; "" if all are known."""
    known = SubmitOptions.__annotations__
    for name in options:
        if name not in known:
            options_text = f"The options are {', '.join(known)}"
            return f"unknown option {name!r}.{meant_or_nearest(name, known)} {options_text}"
    return ""


def meant_or_nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "after"?': the option that an unknown word means, or the known word that is nearest to it."""
    meant = _MEANT.get(word, "")
    return f' Did you mean "{meant}"?' if meant and meant in known else nearest(word, known)


def invalid_option(options: Mapping[str, object]) -> str:
    """Describe the first option of the wrong kind or out of bounds; "" if all are valid. Plugins are not always
    type-checked, and API bodies come unchecked."""
    for name in ("state", "upstream", "mode"):
        if not isinstance(options.get(name, ""), str):
            return f"{name} is {options[name]!r}; it must be a text"
    if isinstance(after := options.get("after"), str):
        try:
            delay_s(after)
        except InvalidDelay as error:
            return str(error)
        options = {name: value for name, value in options.items() if name != "after"}
    for name, allowed in ranges_of(SubmitOptions).items():
        if name in options and not allowed.has(options[name]):
            number = "a whole number" if allowed.is_whole else "a number"
            unit = " seconds (30 days)" if name == "after" else ""
            return f"{name} is {options[name]!r}; it must be {number} {allowed}{unit}"
    return ""


class InvalidDelay(ValueError):
    """A delay that is no time, or too long. `remedy` is what to write instead."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.remedy = ' Write seconds, or "10 min", "2 h", "3 days".'
        super().__init__(f"after: {problem}.{self.remedy}")


def delay_s(written: float | str) -> float:
    """The seconds of a delay such as 90, "90" or "10 min". Raises `InvalidDelay`."""
    seconds = seconds_of(written)
    if seconds is None:
        raise InvalidDelay(f"{written!r} is not a time")
    if not 0 <= seconds <= LONGEST_DELAY_S:
        raise InvalidDelay(f"{written!r} is not between 0 and 30 days")
    return seconds
