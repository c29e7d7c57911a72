"""What an upstream says: tasks, buttons and submit answers, as values that keep what they do not understand.

Field names are the upstream's own in snake case. Statuses and actions are open vocabularies: vendors add words every
month, so a value is a plain `str`, and the enumerations name the ones that are known.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from midjourney import buttons as _buttons
from midjourney.bodies import parsed
from midjourney.buttons import Button


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


class Action(StrEnum):
    """The actions that most implementations share; any other string is an action too."""

    IMAGINE = "IMAGINE"
    UPSCALE = "UPSCALE"
    VARIATION = "VARIATION"
    REROLL = "REROLL"
    ZOOM = "ZOOM"
    PAN = "PAN"
    DESCRIBE = "DESCRIBE"
    BLEND = "BLEND"
    SHORTEN = "SHORTEN"
    VIDEO = "VIDEO"


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a task's `properties` that hookchain reads. `notifyHook` is left out: it holds a credential."""

    final_prompt: str = ""
    message_content: str = ""
    message_hash: str = ""
    custom_id: str = ""
    remix: bool = False


class Task(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A task as one payload showed it. The same serialisation serves callbacks, `fetch` and `list-by-condition`.

    `progress` is a percentage, or None where the sender gave none (it may be free text such as "Waiting to start").
    Times are epoch milliseconds, or None; senders write 0 for "not yet", and one writes seconds.
    `raw` holds the payload byte for byte.
    """

    id: str
    status: str
    action: str = ""
    prompt: str = ""
    prompt_en: str = ""
    description: str = ""
    state: str = ""
    progress: int | None = None
    image_url: str = ""
    fail_reason: str = ""
    submit_time_ms: int | None = None
    start_time_ms: int | None = None
    finish_time_ms: int | None = None
    parent_id: str = ""
    properties: Properties = Properties()
    buttons: tuple[Button, ...] = ()
    raw: bytes = b""

    @property
    def is_finished(self) -> bool:
        """True in SUCCESS, FAILURE and CANCEL."""
        return self.status in TERMINAL

    @property
    def is_grid(self) -> bool:
        """True when the task offers the four U-buttons. The action does not tell: a reroll of an upscale is no grid."""
        return _buttons.is_grid(self.buttons)

    @property
    def final_prompt(self) -> str:
        """The prompt as Midjourney normalised it, else as it was submitted."""
        return self.properties.final_prompt or self.prompt_en or self.prompt

    @property
    def image_number(self) -> int | None:
        """Which image of its grid an upscale shows, 1 to 4.

        Read from the Discord message ("… - Image #3 <@…>": Plus 3.7.5, trueai v11), else from the description
        ("/up <parent> U3"), which says what was asked for.
        """
        return self._shown_number or self._asked_number

    @property
    def is_swapped(self) -> bool:
        """True when an upscale shows another image than was asked for (concurrent presses at Plus 3.7.5)."""
        return (
            None not in (self._shown_number, self._asked_number) and self._shown_number != self._asked_number
        )

    @property
    def _shown_number(self) -> int | None:
        found = re.search(r"Image #([1-4])\b", self.properties.message_content)
        return int(found[1]) if found else None

    @property
    def _asked_number(self) -> int | None:
        pressed = Button(custom_id=self.properties.custom_id)
        if pressed.kind == "upscale":
            return pressed.index
        found = re.search(r"^/up \S+ U([1-4])\b", self.description)
        return int(found[1]) if found else None

    @property
    def pressed_on(self) -> str:
        """Id of the task this one was pressed on, where the payload tells: `parentId` (trueai) or "/up <id> …"."""
        if self.parent_id:
            return self.parent_id
        found = re.match(r"/up (\S+) ", self.description)
        return found[1] if found else ""

    @cached_property
    def extra(self) -> dict[str, Any]:
        """The payload's fields that have no attribute here, by the names that the sender gave them."""
        if not self.raw:
            return {}
        return {key: value for key, value in parsed(self.raw).items() if key not in KNOWN_FIELDS}


KNOWN_FIELDS = frozenset(
    [
        "id",
        "status",
        "action",
        "prompt",
        "promptEn",
        "description",
        "state",
        "progress",
        "imageUrl",
        "failReason",
        "submitTime",
        "startTime",
        "finishTime",
        "parentId",
        "properties",
        "buttons",
    ]
)


class SubmitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream answered to a submit, flattened from the envelopes that exist.

    `code` is None where the answer had none; `ids` holds zero or more task ids (an array, a comma-joined list, a
    number above 2^53 all occur); `mentioned` are those that stand elsewhere. `properties` is `{}` where it was absent,
    null or a list. `error` is the code of an error in OpenAI's shape.
    """

    code: int | str | None
    description: str = ""
    ids: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    properties: dict[str, Any] = {}
    error: str = ""
    raw: bytes = b""


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


def canonical_status(value: str | int | None) -> str:
    """The status in the family's own spelling; a word nobody knows stays as it came."""
    if value is None:
        return Status.NOT_START
    if isinstance(value, int):
        return _NUMBERS.get(value, str(value))
    word = value.strip()
    known = _SPELLINGS.get(word.upper(), word.upper())
    return known if known in _KNOWN else word
