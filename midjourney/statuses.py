"""The states of a task, and the spellings that servers use for them.

The vocabulary is open: vendors add words every month. An unknown word stays as it is, and does not end a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """The task states of novicezk 2.6, midjourney-proxy-plus 3.7.5 and trueai v11."""

    NOT_START = "NOT_START"
    SUBMITTED = "SUBMITTED"
    MODAL = "MODAL"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCEL = "CANCEL"


TERMINAL = frozenset({Status.SUCCESS, Status.FAILURE, Status.CANCEL})
"""The only states that end a task; anything else, known or not, is pending."""


# Other spellings seen on the same paths: web (webman-php), 302.ai gateways, cubicspaces, kling-style relays.
_SPELLINGS = {
    "FAILED": Status.FAILURE,
    "FAIL": Status.FAILURE,
    "SUCCEED": Status.SUCCESS,
    "SUCCEEDED": Status.SUCCESS,
    "FINISHED": Status.SUCCESS,
    "TASK_STATUS_SUCCEED": Status.SUCCESS,
    "TASK_STATUS_FAILED": Status.FAILURE,
    "CANCELED": Status.CANCEL,
    "CANCELLED": Status.CANCEL,
    "": Status.NOT_START,
    "PENDING": Status.NOT_START,
    "STARTED": Status.IN_PROGRESS,
    "RUNNING": Status.IN_PROGRESS,
    "PROCESSING": Status.IN_PROGRESS,
}

# trueai before 2024-10-15 wrote the enumeration as a number (src/Midjourney.Base/Models/Enums.cs).
_NUMBERS = {
    0: Status.NOT_START,
    1: Status.SUBMITTED,
    3: Status.IN_PROGRESS,
    4: Status.FAILURE,
    5: Status.SUCCESS,
    6: Status.MODAL,
    7: Status.CANCEL,
}

_KNOWN = frozenset(Status)


NO_STATUSES: Mapping[str, Status] = {}
"""For a dialect that adds no words."""


def canonical_status(value: str | int | None, statuses: Mapping[str, Status] = NO_STATUSES) -> str:
    """The status in the family's own spelling; an unknown word stays as it is.

    `statuses` are a dialect's own words, in capitals, which take precedence.
    """
    if value is None:
        return Status.NOT_START
    if statuses and (meant := statuses.get(str(value).strip().upper())):
        return meant
    if isinstance(value, int):
        return _NUMBERS.get(value, str(value))
    word = value.strip()
    known = _SPELLINGS.get(word.upper(), word.upper())
    return known if known in _KNOWN else word
