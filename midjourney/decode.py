"""Decodes bytes to a `Task` or a `SubmitAnswer`; raises `Undecodable` with the reason.

It tries a typed decode first, which is fast. If a vendor sends an odd type for an unimportant field, a lenient one follows that
requires only an id and a status. Ids become `str` and never pass through a float: they exceed 2^53, and some start with 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from midjourney.bodies import container_of, readable, understood
from midjourney.button_shapes import read_buttons
from midjourney.buttons import Button
from midjourney.errors import Undecodable
from midjourney.statuses import NO_STATUSES, Status, canonical_status
from midjourney.types import Properties, SubmitAnswer, Task
from midjourney.wrapping import article, fields_of

LONGEST_WORD = 64
"""Characters of an action and a status. The longest known one has 24; longer ones are truncated."""

LONGEST_ID = 255
"""Characters. Known ids have 13 to 40; a longer one is a probe."""


class _WireButton(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    custom_id: str | None = None
    label: str | None = None
    emoji: str | None = None
    type: int | None = None
    style: int | None = None


class _WireTask(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: int | str
    status: int | str | None
    action: str | msgspec.UnsetType | None = msgspec.UNSET
    prompt: str | None = None
    prompt_en: str | None = None
    description: str | None = None
    state: str | None = None
    progress: str | int | msgspec.UnsetType | None = msgspec.UNSET
    image_url: str | None = None
    fail_reason: str | None = None
    submit_time: int | None = None
    start_time: int | None = None
    finish_time: int | None = None
    parent_id: int | str | None = None
    properties: dict[str, object] | None = None
    buttons: list[_WireButton] | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    task: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_plain(self) -> bool:
        """True if it looks like a task of this family, is not an envelope, and all its buttons can be read."""
        return (
            (self.action is not msgspec.UNSET or self.progress is not msgspec.UNSET)
            and self.data is self.task is self.result is msgspec.UNSET
            and (not self.buttons or all(button.custom_id for button in self.buttons))
        )


_PERCENT = re.compile(r"\s*(\d{1,3})(?:\.\d+)?\s*%?\s*")
_typed = msgspec.json.Decoder(_WireTask)


def decode_task(body: bytes, statuses: Mapping[str, Status] = NO_STATUSES) -> Task:
    """The task in a callback or a `fetch` answer, bare or wrapped once (`midjourney.wrapping`).

    `statuses` are the words that the upstream's dialect adds. Raises `Undecodable` for invalid JSON, for no task or several, for
    an unusable id or status, and for payloads of other products.
    """
    try:
        wire = _typed.decode(readable(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        wire = None
    if wire is None or not wire.is_plain:
        return lenient_task(fields_of(body), body, statuses)
    return Task(
        id=_task_id(wire.id),
        status=canonical_status(wire.status, statuses)[:LONGEST_WORD],
        action=_word(wire.action) if isinstance(wire.action, str) else "",
        prompt=wire.prompt or "",
        prompt_en=wire.prompt_en or "",
        description=wire.description or "",
        state=wire.state or "",
        progress=_percent(wire.progress),
        image_url=wire.image_url or "",
        fail_reason=wire.fail_reason or "",
        submit_time_ms=_milliseconds(wire.submit_time),
        start_time_ms=_milliseconds(wire.start_time),
        finish_time_ms=_milliseconds(wire.finish_time),
        parent_id=str(wire.parent_id or "")[:LONGEST_ID],
        properties=_properties(wire.properties),
        buttons=tuple(
            Button(
                custom_id=button.custom_id or "",
                label=button.label or "",
                emoji=button.emoji or "",
                type=button.type,
                style=button.style,
            )
            for button in wire.buttons or ()
        ),
        raw=body,
    )


def kept_task(payload: bytes, statuses: Mapping[str, Status] = NO_STATUSES) -> Task | None:
    """The task in a stored payload; None for b"", and for a payload that an earlier release stored and this one cannot read."""
    try:
        return decode_task(payload, statuses) if payload else None
    except Undecodable:
        return None


def decode_answer(body: bytes) -> SubmitAnswer:
    """The answer to a submit, in any envelope in use: flat, or nested under `data` beside `success`.

    Raises `Undecodable` if it is not a JSON object (an HTML page, an empty body, plain text).
    """
    answer = understood(body)
    if not isinstance(answer, dict):
        raise Undecodable("a JSON object was expected", is_json=True)
    inner = answer.get("data")
    if isinstance(inner, dict) and "code" not in answer:
        return _nested_answer(answer, inner, body)
    result = answer.get("result", answer.get("taskId"))
    properties = answer.get("properties")
    error = answer.get("error")
    details = error if isinstance(error, dict) else {}
    return SubmitAnswer(
        code=_code(answer.get("code")),
        description=_text(answer, "description", "message", "msg") or _text(details, "message"),
        error=_text(details, "code", "type"),
        ids=_ids(result),
        mentioned=_mentioned(inner),
        properties=properties if isinstance(properties, dict) else {},
        raw=body,
    )


def _mentioned(data: object) -> tuple[str, ...]:
    """Ids in the `data` of a foreign envelope or of a relay's: plain ones, or those of objects."""
    if isinstance(data, list):
        entries = [entry for entry in data if not isinstance(entry, list)]
        return tuple(task_id for entry in entries for task_id in _mentioned(entry))
    if isinstance(data, dict):
        data = next((data[key] for key in ("task_id", "taskId", "id", "result") if key in data), None)
    return tuple(task_id for task_id in _ids(data) if re.fullmatch(r"[\w-]*\d[\w-]*", task_id))


def _nested_answer(answer: dict[str, object], inner: dict[str, object], body: bytes) -> SubmitAnswer:
    """The corporate wrapper `{success, message, data: {code, …}}` and the one-api fork `{…, data: {task_id}}`."""
    result = inner.get("result", inner.get("task_id", inner.get("taskId")))
    code = _code(inner.get("code"))
    if code is None and answer.get("success") is True and _ids(result):
        code = 1
    properties = inner.get("properties")
    return SubmitAnswer(
        code=code,
        description=_text(inner, "description") or _text(answer, "message"),
        ids=_ids(result),
        properties=properties if isinstance(properties, dict) else {},
        raw=body,
    )


def lenient_task(payload: dict[str, object], body: bytes, statuses: Mapping[str, Status]) -> Task:
    """The task with these fields; `body` is its payload. Raises `Undecodable` if its id is unusable."""
    status = payload.get("status")
    buttons, unread = read_buttons(payload.get("buttons"))
    return Task(
        id=_task_id(payload.get("id")),
        status=canonical_status(status if isinstance(status, str | int) else None, statuses)[:LONGEST_WORD],
        action=_word(_text(payload, "action")),
        prompt=_text(payload, "prompt"),
        prompt_en=_text(payload, "promptEn"),
        description=_text(payload, "description"),
        state=_text(payload, "state"),
        progress=_percent(payload.get("progress")),
        image_url=_text(payload, "imageUrl"),
        fail_reason=_text(payload, "failReason"),
        submit_time_ms=_milliseconds(payload.get("submitTime")),
        start_time_ms=_milliseconds(payload.get("startTime")),
        finish_time_ms=_milliseconds(payload.get("finishTime")),
        parent_id=_text(payload, "parentId")[:LONGEST_ID],
        properties=_properties(payload.get("properties")),
        buttons=buttons,
        unread_buttons=unread,
        raw=body,
    )


def _task_id(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Undecodable(f"not a task: `id` is {article(value)}, not a string or an integer", is_json=True)
    task_id = str(value).strip()
    if task_id in ("", ".", "..") or len(task_id) > LONGEST_ID or not task_id.isprintable():
        raise Undecodable("not a task: `id` is empty, too long or not printable", is_json=True)
    return task_id


def _properties(value: object) -> Properties:
    value = container_of(value)
    if not isinstance(value, dict):
        return Properties()
    return Properties(
        final_prompt=_text(value, "finalPrompt"),
        message_content=_text(value, "messageContent"),
        message_hash=_text(value, "messageHash"),
        custom_id=_text(value, "customId", "custom_id"),
        remix=value.get("remix") is True,
    )


def _ids(value: object) -> tuple[str, ...]:
    """Zero or more ids: trueai joins the four of `PicReader::all` with commas; uploads answer with an array."""
    if isinstance(value, list):
        return tuple(task_id for entry in value if not isinstance(entry, list) for task_id in _ids(entry))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ()
    if isinstance(value, str) and "://" in value:
        return (value,)  # the URL of an uploaded image may contain a comma
    parts = (piece.strip() for piece in str(value).split(","))
    return tuple(part for part in parts if 0 < len(part) <= LONGEST_ID and part.isprintable())


def _code(value: object) -> int | str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value.strip()):
        return int(value)
    return value


def _percent(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(min(max(value, 0), 100)) if value == value else None
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
        return min(int(found[1]), 100)
    return None


def _milliseconds(value: object) -> int | None:
    """Epoch milliseconds; a value below 10^11 is in seconds (webman-php, new-api's own list)."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return value * 1000 if value < 100_000_000_000 else value


def _word(value: str) -> str:
    return value.strip()[:LONGEST_WORD].upper()


def _text(mapping: dict[str, object], *keys: str) -> str:
    for key in keys:
        value = mapping.get(key)
        if isinstance(value, str) and value:
            return value
        if value is not None and not isinstance(value, str):
            return msgspec.json.encode(value).decode()
    return ""
