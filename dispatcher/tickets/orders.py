"""What clients post, read as typed requests: the fields of the family's bodies under our names. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from midjourney.errors import InvalidRequest
from midjourney.requests import (
    KINDS,
    Action,
    Change,
    Modal,
    Request,
    RequestKind,
    SimpleChange,
    as_change,
)

KIND_OF_PATH: dict[str, RequestKind] = {
    "submit/imagine": "imagine",
    "submit/action": "action",
    "submit/change": "change",
    "submit/simple-change": "simple_change",
    "submit/modal": "modal",
    "submit/blend": "blend",
    "submit/describe": "describe",
    "submit/shorten": "shorten",
    "submit/edits": "edit",
    "submit/edit": "edit",
    "submit/video": "video",
    "submit/retexture": "retexture",
    "submit/show": "show",
    "insight-face/swap": "swap",
    "insight-face/video-swap": "video_swap",
}
"""The kind of order that each path makes, without its prefix."""

_NAMES: Mapping[str, str] = {
    "taskId": "task_id",
    "customId": "custom_id",
    "botType": "bot_type",
    "maskBase64": "mask",
    "endImage": "end_image",
    "videoType": "video_type",
    "batchSize": "batch_size",
    "sourceBase64": "source",
    "targetBase64": "target",
    "base64Array": "images",
    "jobId": "job_id",
}
"""Names in a body that differ from ours (protocol notes, section a)."""

_OF_A_VIDEO_SWAP: Mapping[str, str] = {
    "sourceBase64": "source",
    "sourceUrl": "source",
    "targetFile": "target",
    "targetUrl": "target",
}
"""Those of a video swap, which names links apart."""

_ONE_IMAGE = frozenset({"describe", "edit", "retexture"})

OWN = frozenset({"notifyHook", "state"})
"""Fields that are the client's own, and never sent on."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order as a client posted it. Ids in `request` are those that the client knows; `mode` is the first part of the path
    ("mj-fast"), or ""; `digest` is equal for equal bodies. `chosen`: why new work goes to the account that it goes to."""

    kind: RequestKind
    request: Request
    state: str = ""
    hook: str = ""
    digest: str = ""
    idempotency_key: str = ""
    mode: str = ""
    chosen: str = ""


def request_of(kind: RequestKind, fields: Mapping[str, object]) -> Request:
    """The typed request in a body. Fields that hookchain does not know are sent on. Raises `InvalidRequest` with the field's name."""
    known: dict[str, object] = {"kind": kind}
    extra: dict[str, object] = {}
    names = {*KINDS[kind].__struct_fields__} - {"extra"}
    for name, value in fields.items():
        if name in OWN or value is None:
            continue
        ours = _ours(name, kind)
        if ours in names:
            if ours in known and kind == "video_swap":
                raise InvalidRequest(name, "is given twice: as a file, or as a link")
            known[ours] = _value(ours, value)
        else:
            extra[name] = value
    missing = [name for name in _required(kind) if name not in known]
    if missing:
        raise InvalidRequest(written_as(missing[0], kind), "is missing")
    try:
        request = msgspec.convert(known | {"extra": extra}, type=KINDS[kind], strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_field_in(str(error), kind), str(error).partition(" - at")[0]) from error
    if isinstance(request, SimpleChange):
        as_change(request)
    return request


def _ours(name: str, kind: RequestKind) -> str:
    if name in ("base64", "base64Array"):
        return "image" if kind in _ONE_IMAGE else "images"
    if kind == "video_swap":
        return _OF_A_VIDEO_SWAP.get(name, name)
    return _NAMES.get(name, name)


def written_as(name: str, kind: RequestKind) -> str:
    """The name of one of our fields in the bodies that clients send."""
    if name == "image" and kind == "describe":
        return "base64"
    if kind == "video_swap" and name == "target":
        return "targetFile"
    return next((theirs for theirs, ours in _NAMES.items() if ours == name), name)


def _value(name: str, value: object) -> object:
    """The value as our type has it: one image where clients send it alone or in a list."""
    if name == "images":
        return [one for one in (value if isinstance(value, list) else [value]) if one != ""]
    if name == "image" and isinstance(value, list):
        return value[0] if len(value) == 1 else value
    if (
        name in ("custom_id", "task_id", "content", "prompt")
        and isinstance(value, int)
        and not isinstance(value, bool)
    ):
        return str(value)
    if name in ("bot_type", "dimensions") and isinstance(value, str):
        return value.upper()
    return value


def _required(kind: RequestKind) -> tuple[str, ...]:
    return {
        "imagine": ("prompt",),
        "action": ("task_id", "custom_id"),
        "change": ("task_id", "action"),
        "simple_change": ("content",),
        "modal": ("task_id",),
        "blend": ("images",),
        "describe": ("image",),
        "shorten": ("prompt",),
        "edit": ("prompt", "image"),
        "retexture": ("prompt", "image"),
        "show": ("job_id",),
        "swap": ("source", "target"),
        "video_swap": ("source", "target"),
    }.get(kind, ())


def _field_in(error: str, kind: RequestKind) -> str:
    """The name of the field that a message of msgspec is about."""
    _, _, path = error.partition("at `$.")
    return written_as(path.partition("`")[0].partition("[")[0], kind) or "body"


def about(request: Request) -> str:
    """The client's id of the task that an order is about; "" for a new root."""
    match request:
        case Action() | Change() | Modal():
            return request.task_id
        case SimpleChange():
            return as_change(request).task_id
        case _:
            return str(getattr(request, "task_id", ""))


def renamed(request: Request, task_id: str) -> Request:
    """The order under the upstream's id of its task. A change in one line becomes a change."""
    if isinstance(request, SimpleChange):
        request = msgspec.structs.replace(as_change(request), extra=request.extra)
    if not hasattr(request, "task_id"):
        return request
    return msgspec.structs.replace(request, task_id=task_id)
