"""The JSON structures of midjourney-proxy-plus; shapes.py adapts them to other servers.

Absent values are written as `null`, never left out (Jackson's default, which novicezk 2.6 and Plus 3.7.5 use).
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
    """A task as `fetch` and callbacks show it. Times are epoch milliseconds."""

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
    """The answer of every `submit/*`. `result`: a task id, several joined by commas, or the links of an upload."""

    code: int
    description: str
    result: str | list[str] | None = None
    properties: Properties = {}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `image-seed` and `cancel`, which has no properties."""

    code: int
    description: str
    result: str | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All fields of submits. Other fields are ignored, as by Spring Boot."""

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
    source_url: str | None = None
    target_url: str | None = None
    target_file: str | None = None
    account_filter: dict[str, object] | None = None
    bot_type: str | None = None
    enable_remix: bool | None = None
    mode: str | None = None
    state: str | None = None
    notify_hook: str | None = None
