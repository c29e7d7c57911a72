"""The shapes that go over the wire, before a server's manner is laid over them: those of midjourney-proxy-plus.

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
    """What every `submit/*` gives back. `result` is a task id, several joined by commas, or the links of an upload."""

    code: int
    description: str
    result: str | list[str] | None = None
    properties: Properties = {}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What `image-seed` and `cancel` give back: an answer without properties."""

    code: int
    description: str
    result: str | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Every field that a submit may have; Spring Boot ignores the others, and so do we."""

    prompt: str | None = None
    task_id: str | int | None = None
    custom_id: str | None = None
    action: str | None = None
    index: int | None = None
    content: str | None = None
    base64: str | None = None
    base64_array: list[str] | None = None
    dimensions: str | None = None
    image: str | None = None
    end_image: str | None = None
    motion: str | None = None
    source_base64: str | None = None
    target_base64: str | None = None
    mask_base64: str | None = None
    job_id: str | None = None
    bot_type: str | None = None
    enable_remix: bool | None = None
    state: str | None = None
    notify_hook: str | None = None
