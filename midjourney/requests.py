"""What we ask of an upstream: typed submissions, and the path and body each one has in a dialect."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from midjourney.dialects import Dialect


class Imagine(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="imagine", forbid_unknown_fields=True
):
    """A new picture. `images` are data URLs (or addresses, at relays); `extra` fields go into the body as they are."""

    prompt: str
    images: tuple[str, ...] = ()
    bot_type: Literal["", "MID_JOURNEY", "NIJI_JOURNEY"] = ""
    extra: dict[str, Any] = {}


class Action(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="action", forbid_unknown_fields=True
):
    """A press of one button. `custom_id` is taken from the task's own buttons, which Plus compares exactly."""

    task_id: str
    custom_id: str
    extra: dict[str, Any] = {}


class Change(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="change", forbid_unknown_fields=True
):
    """The press of dialects without buttons; `index` is 1 to 4, and absent for a reroll."""

    task_id: str
    action: Literal["UPSCALE", "VARIATION", "REROLL"]
    index: Literal[1, 2, 3, 4] | None = None


class Modal(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="modal", forbid_unknown_fields=True
):
    """The answer to a waiting window. `mask` is a PNG as data URL or base64: white is what may change."""

    task_id: str
    prompt: str = ""
    mask: str = ""


Request = Imagine | Action | Change | Modal
"""Any submission. It is stored as JSON with `kind` telling which."""

RequestKind = Literal["imagine", "action", "change", "modal"]

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def kind_of(request: Request) -> RequestKind:
    """The tag of a request: "imagine", "action", "change" or "modal"."""
    match request:
        case Imagine():
            return "imagine"
        case Action():
            return "action"
        case Change():
            return "change"
        case Modal():
            return "modal"


def parent_of(request: Request) -> str:
    """Id of the task that the request is about; "" for a new root."""
    return "" if isinstance(request, Imagine) else request.task_id


def encode_request(request: Request) -> bytes:
    """The request as it is stored."""
    return msgspec.json.encode(request)


def decode_request(stored: bytes) -> Request:
    """The request that `encode_request` stored."""
    return _decoder.decode(stored)


def wire_path(request: Request, dialect: Dialect) -> str:
    """The path under the upstream's base URL."""
    return f"{dialect.prefix}/submit/{kind_of(request)}"


def wire_body(
    request: Request, dialect: Dialect, *, notify_hook: str = "", state: str = ""
) -> dict[str, Any]:
    """The JSON body. `notify_hook` and `state` are left out where the dialect, or `modal`, takes none."""
    body = _fields(request)
    if not isinstance(request, Modal):
        if notify_hook and dialect.takes_hook:
            body["notifyHook"] = notify_hook
        if state and dialect.takes_state:
            body.setdefault("state", state)
    return body


def _fields(request: Request) -> dict[str, Any]:
    match request:
        case Imagine():
            body: dict[str, Any] = {"prompt": request.prompt}
            if request.images:
                body["base64Array"] = list(request.images)
            if request.bot_type:
                body["botType"] = request.bot_type
            return body | request.extra
        case Action():
            return {"taskId": request.task_id, "customId": request.custom_id} | request.extra
        case Change():
            body = {"taskId": request.task_id, "action": request.action}
            return body if request.index is None else body | {"index": request.index}
        case Modal():
            body = {"taskId": request.task_id, "prompt": request.prompt}
            return body | {"maskBase64": request.mask} if request.mask else body
