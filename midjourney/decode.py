"""Bytes to `Task` or `SubmitAnswer`, or `Undecodable` with the reason.

Twice, not once strictly: first a typed decode, which is quick; where a vendor sends an odd type for a field that
nobody needs, a lenient one that insists on nothing but an id and a status. Ids become `str` and never pass through
a float: they go above 2^53, and some start with 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from midjourney.bodies import parsed, text_of
from midjourney.buttons import Button
from midjourney.errors import Undecodable
from midjourney.nesting import DEEPEST, is_too_deep
from midjourney.types import KNOWN_FIELDS, Properties, Status, SubmitAnswer, Task, canonical_status

LONGEST_ID = 255
"""Characters. Ids seen are 13 to 40 long; a longer one is somebody probing."""

# A foreign product of the same relay posts {"id", "status"} too (crazyrouter: Kling, Luma, Suno). One field of the
# family beside them, or a status in the family's own spelling, makes it a task.
_FAMILY_FIELDS = KNOWN_FIELDS - {"id", "status", "state", "parentId"} | {"botType"}
_FAMILY_STATUSES = frozenset(Status)


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
    properties: dict[str, Any] | None = None
    buttons: list[_WireButton] | None = None


_typed = msgspec.json.Decoder(_WireTask)
_apart = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw] | str | int | float | bool | None)
"""Each entry by itself, so that what one of them has wrong is no matter of the others'."""


def decode_task(body: bytes) -> Task:
    """The task that a callback or a `fetch` answer shows.

    Raises `Undecodable` for what is no JSON object, has no usable id or status, or belongs to another product.
    """
    try:
        wire = _typed.decode(_readable(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lenient_task(body)
    if wire.action is msgspec.UNSET and wire.progress is msgspec.UNSET:
        return _lenient_task(body)  # looks unlike the family: look at every field
    return Task(
        id=_task_id(wire.id),
        status=canonical_status(wire.status),
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
        parent_id=str(wire.parent_id or ""),
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


def kept_task(payload: bytes) -> Task | None:
    """The task that a payload shows which is kept; None for b"", and for what a release before kept that we do not read."""
    try:
        return decode_task(payload) if payload else None
    except Undecodable:
        return None


def decode_tasks(body: bytes) -> list[Task]:
    """The tasks of a `list-by-condition` answer; an entry that is no task is left out, as unknown ids are.

    Raises `Undecodable` when the answer is no JSON array.
    """
    entries = _json(body, _apart.decode)
    if isinstance(entries, dict):  # one gateway wraps its lists
        inner: Any = entries.get("data", entries.get("result", b"null"))
        entries = _json(bytes(inner), _apart.decode)
    if not isinstance(entries, list):
        raise Undecodable("a list of tasks was expected", is_json=True)
    tasks = []
    for entry in entries:
        try:
            tasks.append(decode_task(bytes(entry)))
        except Undecodable:
            continue
    return tasks


def decode_answer(body: bytes) -> SubmitAnswer:
    """The answer to a submit, out of the envelopes that exist: flat, or nested under `data` beside `success`.

    Raises `Undecodable` when it is no JSON object (an HTML page, an empty body, plain text).
    """
    answer = _json(body)
    if not isinstance(answer, dict):
        raise Undecodable("a JSON object was expected", is_json=True)
    inner = answer.get("data")
    if isinstance(inner, dict) and "code" not in answer:
        return _nested_answer(answer, inner, body)
    result = answer.get("result", answer.get("taskId"))
    properties = answer.get("properties")
    error = answer.get("error")
    told = error if isinstance(error, dict) else {}
    return SubmitAnswer(
        code=_code(answer.get("code")),
        description=_text(answer, "description", "message", "msg") or _text(told, "message"),
        error=_text(told, "code", "type"),
        ids=_ids(result),
        mentioned=_mentioned(inner),
        properties=properties if isinstance(properties, dict) else {},
        raw=body,
    )


def _mentioned(data: Any) -> tuple[str, ...]:
    """Ids in the `data` of an envelope that is none of the family's, or of a relay's: plain, or of objects."""
    if isinstance(data, list):
        return tuple(found for entry in data if not isinstance(entry, list) for found in _mentioned(entry))
    if isinstance(data, dict):
        data = next((data[key] for key in ("task_id", "taskId", "id", "result") if key in data), None)
    return tuple(one for one in _ids(data) if re.fullmatch(r"[\w-]*\d[\w-]*", one))


def _nested_answer(answer: dict[str, Any], inner: dict[str, Any], body: bytes) -> SubmitAnswer:
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


def _readable(body: bytes) -> bytes:
    if is_too_deep(body):
        raise Undecodable(f"nested deeper than {DEEPEST} levels", is_json=True)
    return text_of(body)


def _json(body: bytes, decode: Callable[[bytes], Any] | None = None) -> Any:
    try:
        return parsed(_readable(body), decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not JSON: {error}", is_json=False) from error


def _lenient_task(body: bytes) -> Task:
    payload = _json(body)
    if not isinstance(payload, dict):
        raise Undecodable(f"a task is a JSON object, this is {_article(payload)}", is_json=True)
    task_id = payload.get("id", payload.get("taskId"))
    if task_id is None:
        raise Undecodable("no task: the field `id` is missing", is_json=True)
    status = payload.get("status")
    speaks_family = isinstance(status, str) and status in _FAMILY_STATUSES
    if not (_FAMILY_FIELDS & payload.keys()) and not speaks_family:
        raise Undecodable("no task: an id, but no field of the midjourney-proxy family", is_json=True)
    return Task(
        id=_task_id(task_id),
        status=canonical_status(status if isinstance(status, str | int) else None),
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
        parent_id=_text(payload, "parentId"),
        properties=_properties(payload.get("properties")),
        buttons=tuple(_lenient_buttons(payload.get("buttons"))),
        raw=body,
    )


def _lenient_buttons(value: Any) -> Iterable[Button]:
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, list):  # webman-php nests its buttons in rows
                yield from _lenient_buttons(entry)
            elif isinstance(entry, dict):
                yield Button(
                    custom_id=_text(entry, "customId"),
                    label=_text(entry, "label"),
                    emoji=_text(entry, "emoji"),
                )


def _task_id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Undecodable(f"no task: `id` is {_article(value)}, not a string or an integer", is_json=True)
    task_id = str(value).strip()
    if not task_id or len(task_id) > LONGEST_ID or not task_id.isprintable():
        raise Undecodable("no task: `id` is empty, too long or not printable", is_json=True)
    return task_id


def _properties(value: Any) -> Properties:
    if not isinstance(value, dict):
        return Properties()
    return Properties(
        final_prompt=_text(value, "finalPrompt"),
        message_content=_text(value, "messageContent"),
        message_hash=_text(value, "messageHash"),
        custom_id=_text(value, "customId", "custom_id"),
        remix=value.get("remix") is True,
    )


def _ids(value: Any) -> tuple[str, ...]:
    """Zero or more ids: trueai joins the four of `PicReader::all` with commas; uploads answer with an array."""
    if isinstance(value, list):
        return tuple(found for entry in value if not isinstance(entry, list) for found in _ids(entry))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ()
    if isinstance(value, str) and "://" in value:
        return (value,)  # an uploaded image's address may hold a comma
    parts = (piece.strip() for piece in str(value).split(","))
    return tuple(part for part in parts if 0 < len(part) <= LONGEST_ID and part.isprintable())


def _code(value: Any) -> int | str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value.strip()):
        return int(value)
    return value


def _percent(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(min(max(value, 0), 100)) if value == value else None
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d{1,3})(?:\.\d+)?\s*%?\s*", value)):
        return min(int(found[1]), 100)
    return None


def _milliseconds(value: Any) -> int | None:
    """Epoch milliseconds; below 10^11 it is seconds (webman-php, new-api's own list)."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return value * 1000 if value < 100_000_000_000 else value


def _word(value: str) -> str:
    return value.strip().upper()


def _text(mapping: dict[str, Any], *keys: str) -> str:
    for key in keys:
        value = mapping.get(key)
        if isinstance(value, str) and value:
            return value
        if value is not None and not isinstance(value, str):
            return msgspec.json.encode(value).decode()
    return ""


def _article(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "null")
