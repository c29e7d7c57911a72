"""Requests to an upstream: typed submissions, as they are staged and stored. `wire` encodes them for a dialect.

An image or a mask is a data URL or bare base64, as from `loading.load_image`, or a URL if the dialect takes URLs. `extra` fields go
into the body unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from midjourney.errors import InvalidRequest

BotType = Literal["", "MID_JOURNEY", "NIJI_JOURNEY"]


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    extra: Mapping[str, object] = {}


class Imagine(_Request, frozen=True, kw_only=True, tag="imagine"):
    """A new image from a prompt, and optionally from other images."""

    prompt: str
    images: tuple[str, ...] = ()
    bot_type: BotType = ""


class Blend(_Request, frozen=True, kw_only=True, tag="blend"):
    """Blends two to five images into one."""

    images: tuple[str, ...]
    dimensions: Literal["", "PORTRAIT", "SQUARE", "LANDSCAPE"] = ""
    bot_type: BotType = ""


class Describe(_Request, frozen=True, kw_only=True, tag="describe"):
    """Describes an image by four prompts."""

    image: str
    bot_type: BotType = ""


class Shorten(_Request, frozen=True, kw_only=True, tag="shorten"):
    """Analyses which words of a prompt matter, and gives five shorter prompts."""

    prompt: str
    bot_type: BotType = ""


class Edit(_Request, frozen=True, kw_only=True, tag="edit"):
    """Changes the user's own image by a prompt; `mask` is white where it may change."""

    prompt: str
    image: str
    mask: str = ""


class Retexture(_Request, frozen=True, kw_only=True, tag="retexture"):
    """Draws the user's own image anew by a prompt, and keeps its shapes."""

    prompt: str
    image: str


class Show(_Request, frozen=True, kw_only=True, tag="show"):
    """Reads a job of Midjourney, which need not be known to the upstream, into a task. `job_id` is its uuid, or the URL of its image.

    trueai answers with the task that has the job, if there is one; else `accountFilter.instanceId` must name the account.
    """

    job_id: str
    bot_type: BotType = ""


class Swap(_Request, frozen=True, kw_only=True, tag="swap"):
    """Puts the face of `source` into `target` (InsightFace)."""

    source: str
    target: str


class VideoSwap(_Request, frozen=True, kw_only=True, tag="video_swap"):
    """Puts the face of `source` into the video `target`: a data URL, or a link. It is sent as a multipart form, the only way in
    which trueai takes it."""

    source: str
    target: str


class Video(_Request, frozen=True, kw_only=True, tag="video"):
    """A video from an image, or a longer one from a video task (`action` "extend", with `task_id` and `index` 0-3)."""

    prompt: str = ""
    motion: Literal["low", "high"] = "low"
    image: str = ""
    end_image: str = ""
    loop: bool = False
    action: Literal["", "extend"] = ""
    task_id: str = ""
    index: Literal[0, 1, 2, 3] | None = None
    video_type: str = ""
    batch_size: Literal[1, 2, 4] | None = None


class Action(_Request, frozen=True, kw_only=True, tag="action"):
    """A press of one button. `custom_id` is taken from the task's own buttons, which Plus compares exactly.

    `zoom` is the factor with which to answer the modal that Custom Zoom opens, for plugins; it is not sent with the press.
    """

    task_id: str
    custom_id: str
    zoom: float | msgspec.UnsetType = msgspec.UNSET


class Change(_Request, frozen=True, kw_only=True, tag="change"):
    """A press in dialects without buttons; `index` is 1 to 4, and absent for a reroll."""

    task_id: str
    action: Literal["UPSCALE", "VARIATION", "REROLL"]
    index: Literal[1, 2, 3, 4] | None = None


class SimpleChange(_Request, frozen=True, kw_only=True, tag="simple_change"):
    """A change in one line: "<task id> U2", "V1" to "V4", "R"."""

    content: str


class Modal(_Request, frozen=True, kw_only=True, tag="modal"):
    """The answer to a waiting modal. `mask` is a PNG: black, and white where the image may change."""

    task_id: str
    prompt: str = ""
    mask: str = ""


class Cancel(_Request, frozen=True, kw_only=True, tag="cancel"):
    """Cancels a task that has not ended. It creates no task, and costs nothing."""

    task_id: str


Request = (
    Imagine
    | Blend
    | Describe
    | Shorten
    | Edit
    | Retexture
    | Show
    | Swap
    | VideoSwap
    | Video
    | Action
    | Change
    | SimpleChange
    | Modal
    | Cancel
)
"""Any submission. It is stored as JSON; `kind` is the tag."""

RequestKind = Literal[
    "imagine",
    "blend",
    "describe",
    "shorten",
    "edit",
    "retexture",
    "show",
    "swap",
    "video_swap",
    "video",
    "action",
    "change",
    "simple_change",
    "modal",
    "cancel",
]

KINDS: dict[RequestKind, type[Request]] = {
    "imagine": Imagine,
    "blend": Blend,
    "describe": Describe,
    "shorten": Shorten,
    "edit": Edit,
    "retexture": Retexture,
    "show": Show,
    "swap": Swap,
    "video_swap": VideoSwap,
    "video": Video,
    "action": Action,
    "change": Change,
    "simple_change": SimpleChange,
    "modal": Modal,
    "cancel": Cancel,
}
"""The type of each kind of request."""

_KIND_OF = {type_: kind for kind, type_ in KINDS.items()}
_SIMPLE = re.compile(r"(?P<id>\S+)\s+(?P<letter>[UVR])(?P<index>[1-4]?)", re.IGNORECASE)

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def kind_of(request: Request) -> RequestKind:
    """The tag of a request: "imagine", "action", "change" …"""
    return _KIND_OF[type(request)]


def parent_of(request: Request) -> str:
    """Id of the task that the request is about; "" for a new root."""
    match request:
        case Action() | Change() | Modal() | Cancel() | Video():
            return request.task_id
        case SimpleChange():
            return as_change(request).task_id
        case _:
            return ""


def as_change(request: SimpleChange) -> Change:
    """The change that the line stands for. Raises `InvalidRequest` if it is malformed."""
    parts = _SIMPLE.fullmatch(request.content.strip())
    letter = parts["letter"].upper() if parts else ""
    if parts is None or (letter == "R") == bool(parts["index"]):
        raise InvalidRequest("content", f'{request.content!r} is not "<task id> U2", U1-U4, V1-V4 or R')
    fields = {
        "kind": "change",
        "task_id": parts["id"],
        "action": {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}[letter],
        "index": int(parts["index"]) if parts["index"] else None,
    }
    return msgspec.convert(fields, type=Change)


def encode_request(request: Request) -> bytes:
    """The stored form of a request."""
    return msgspec.json.encode(request)


def decode_request(stored: bytes) -> Request:
    """The request that `encode_request` stored."""
    return _decoder.decode(stored)


class _Prompted(msgspec.Struct, frozen=True):
    prompt: str = ""


def prompt_in(stored: bytes) -> str:
    """The prompt of a stored request; "" if it has none."""
    return msgspec.json.decode(stored, type=_Prompted).prompt if stored else ""
