"""Tasks and submit answers of upstreams, as values that preserve unknown content.

Field names are the upstream's own in snake case. Statuses and actions are open vocabularies: vendors add words every month, so
values are plain `str`, and the enumerations list the known ones.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from functools import cached_property

import msgspec

from midjourney import buttons as _buttons
from midjourney.buttons import Button
from midjourney.failures import failure_kind
from midjourney.prompt_params import Params, params_of, words_of
from midjourney.prompts import described
from midjourney.statuses import TERMINAL as TERMINAL
from midjourney.statuses import Status as Status
from midjourney.statuses import canonical_status as canonical_status
from midjourney.wrapping import KNOWN_FIELDS, fields_of


class Action(StrEnum):
    """The actions that most implementations share; other strings are valid too."""

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


_STATUSES = frozenset(Status)


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a task's `properties` that hookchain reads; not `notifyHook`, which contains a credential."""

    final_prompt: str = ""
    message_content: str = ""
    message_hash: str = ""
    custom_id: str = ""
    remix: bool = False


_SHOWN = re.compile(r"Image #([1-4])\b")
_ASKED = re.compile(r"/up \S+ U([1-4])\b")
_PRESSED_ON = re.compile(r"/up (\S+) ")
_MADE_BY = re.compile(r"/up \S+ (\S+)")


class Task(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A task as one payload showed it. Callbacks, `fetch` and `list-by-condition` use the same serialisation.

    `progress` is a percentage, or None if the sender gave none (it may be free text such as "Waiting to start").
    Times are epoch milliseconds, or None; senders write 0 for "not yet", and one writes seconds.
    `unread_buttons` describes the shape of buttons that cannot be read; "" if there are none.
    `raw` holds the payload byte for byte, including any wrapper, which `midjourney.wrapping` removes. Only for a long answer of an
    upstream it holds less (`midjourney.keeping`).
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
    unread_buttons: str = ""
    raw: bytes = b""

    @property
    def unknown_end(self) -> str:
        """The status, if it is unknown although the image is complete; otherwise "". It does not end the task."""
        is_unknown = self.status not in _STATUSES and self.progress == 100 and self.image_url
        return self.status if is_unknown else ""

    @property
    def oddity(self) -> str:
        """What a person should look into: an unknown status, or buttons that cannot be read; otherwise ""."""
        if self.unknown_end:
            return (
                f"The status {self.unknown_end[:40]!r} is unknown, but the image is complete, so nothing is pressed. If it means "
                "SUCCESS, add it to `statuses` of the upstream's dialect"
            )
        if self.status == Status.SUCCESS and self.unread_buttons:
            return f"Some or all buttons cannot be read, so they cannot be pressed: {self.unread_buttons}"
        return ""

    @property
    def is_finished(self) -> bool:
        """True in SUCCESS, FAILURE and CANCEL."""
        return self.status in TERMINAL

    @property
    def failure_kind(self) -> str:
        """Why it failed, as one of `midjourney.failures.KINDS`; "" unless it ended in FAILURE or CANCEL."""
        return failure_kind(self.fail_reason) if self.status in (Status.FAILURE, Status.CANCEL) else ""

    @property
    def is_grid(self) -> bool:
        """True if the task has the four U-buttons. The action does not decide: a reroll of an upscale is not a grid."""
        return _buttons.is_grid(self.buttons)

    @property
    def final_prompt(self) -> str:
        """The prompt as Midjourney normalised it, otherwise as it was submitted."""
        return self.properties.final_prompt or self.prompt_en or self.prompt

    @property
    def params(self) -> Params:
        """The parameters of `final_prompt`, such as `params.ar`."""
        return params_of(self.final_prompt)

    @property
    def words(self) -> str:
        """`final_prompt` without parameters and links."""
        return words_of(self.final_prompt)

    @property
    def described(self) -> tuple[str, ...]:
        """The four prompts that a describe found; empty for other tasks."""
        if self.action != Action.DESCRIBE:
            return ()
        texts = (self.properties.final_prompt, self.prompt_en, self.prompt)
        return next((found for found in map(described, texts) if found), ())[:4]

    @property
    def image_number(self) -> int | None:
        """Which image of its grid an upscale shows, 1 to 4.

        Read from the Discord message ("… - Image #3 <@…>": Plus 3.7.5, trueai v11), otherwise from the description
        ("/up <parent> U3"), which names the image that was requested.
        """
        return self._shown_number or self._asked_number

    @property
    def is_swapped(self) -> bool:
        """True if an upscale shows an image other than the requested one (concurrent presses at Plus 3.7.5)."""
        shown = self._shown_number
        return shown is not None and self._asked_number not in (None, shown)

    @property
    def _shown_number(self) -> int | None:
        number = _SHOWN.search(self.properties.message_content)
        return int(number[1]) if number else None

    @property
    def _asked_number(self) -> int | None:
        pressed = Button(custom_id=self.properties.custom_id)
        if pressed.kind == "upscale":
            return pressed.index
        number = _ASKED.match(self.description)
        return int(number[1]) if number else None

    @property
    def pressed_on(self) -> str:
        """Id of the task this one was pressed on, if the payload names it: `parentId` (trueai) or "/up <id> …"; otherwise ""."""
        if self.parent_id:
            return self.parent_id
        parent = _PRESSED_ON.match(self.description)
        return parent[1] if parent else ""

    @property
    def made_by(self) -> str:
        """The button on its parent that made it, if the payload names it: its customId, or a name such as "U3"; otherwise ""."""
        if self.properties.custom_id:
            return self.properties.custom_id
        button = _MADE_BY.match(self.description)
        return button[1] if button else ""

    @cached_property
    def extra(self) -> dict[str, object]:
        """The payload's fields that have no attribute here, under the sender's names."""
        if not self.raw:
            return {}
        return {key: value for key, value in fields_of(self.raw).items() if key not in KNOWN_FIELDS}


def digest_of(task: Task) -> str:
    """A digest, 16 characters, of the content of an ended task: it changes with its texts, buttons and image.

    The query of the image's URL does not count, because Discord signs it anew for each request.
    """
    buttons = [[button.custom_id, button.label, button.emoji, button.style] for button in task.buttons]
    image = task.image_url.partition("?")[0]
    shown = [buttons, image, task.properties.final_prompt, task.prompt, task.prompt_en, task.fail_reason]
    return hashlib.blake2b(msgspec.json.encode(shown), digest_size=8).hexdigest()


class SubmitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's answer to a submit, flattened from the envelopes in use.

    `code` is None if the answer had none; `ids` holds zero or more task ids (an array, a comma-joined list and a number above 2^53
    all occur); `mentioned` holds ids found in other places. `properties` is `{}` if it was absent, null or a list. `error` is the
    code of an error in OpenAI's format.
    """

    code: int | str | None
    description: str = ""
    ids: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    properties: dict[str, object] = {}
    error: str = ""
    raw: bytes = b""
