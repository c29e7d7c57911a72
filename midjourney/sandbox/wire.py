"""The shapes that go over the wire, field for field and in the order midjourney-proxy-plus serialises them.

Absent values are written as `null`, never left out (Jackson's default, which nov 2.6 and Plus 3.7.5 keep).
"""

import msgspec

Properties = dict[str, str | int | bool | None]


class Button(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A Discord button. `style`: 2 secondary, 3 already pressed. `emoji` and `label` are "" when absent (Plus 3.7.5)."""

    custom_id: str
    emoji: str = ""
    label: str = ""
    type: int = 2
    style: int = 2


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One job as `fetch` and the callbacks show it. Times are epoch milliseconds."""

    id: str
    properties: Properties
    action: str
    status: str
    prompt: str | None
    prompt_en: str | None
    description: str
    submit_time: int
    start_time: int | None = None
    finish_time: int | None = None
    progress: str | None = None
    image_url: str | None = None
    image_height: int | None = None
    image_width: int | None = None
    fail_reason: str | None = None
    state: str | None = None
    buttons: tuple[Button, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every `submit/*` gives back, always with HTTP 200 (nov 2.6 and Plus 3.7.5 use no other status)."""

    code: int
    description: str
    result: str | None = None
    properties: Properties = {}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What `image-seed` and `cancel` give back: an answer without properties."""

    code: int
    description: str
    result: str | None = None
