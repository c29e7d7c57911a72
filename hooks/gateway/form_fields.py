"""Which field of an order each part of a multipart form is, and which type it has there. Pure.

Two servers take forms: trueai 11 for a video swap (`[FromForm] InsightVideoFaceSwapDto`, whose binder ignores case, and writes
`accountFilter.modes[0]`), and a relay for a face swap (source, target, mode). All others take JSON only, so the other names are those of
their JSON, and the obvious ones for files: image, images, mask, video.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from midjourney.bodies import understood
from midjourney.errors import InvalidRequest, Undecodable

VIDEO = "targetFile"
"""The field that holds a video; all others hold images."""

_MANY = dict.fromkeys(("base64Array", "base64", "images", "image"), "base64Array")
_DESCRIBED = dict.fromkeys(("base64", "base64Array", "image"), "base64")
_EDITED = dict.fromkeys(("image", "base64", "base64Array"), "image")
_MASK = dict.fromkeys(("maskBase64", "mask"), "maskBase64")
_SOURCE = dict.fromkeys(("sourceBase64", "source"), "sourceBase64")

_FILES: Mapping[str, Mapping[str, str]] = {
    "submit/imagine": _MANY,
    "submit/blend": _MANY,
    "submit/upload-discord-images": _MANY,
    "submit/describe": _DESCRIBED,
    "submit/edits": _EDITED | _MASK,
    "submit/edit": _EDITED | _MASK,
    "submit/retexture": _EDITED,
    "submit/video": {"image": "image", "endImage": "endImage"},
    "submit/modal": _MASK,
    "insight-face/video-swap": _SOURCE | dict.fromkeys(("targetFile", "target", "video"), VIDEO),
    "insight-face/swap": _SOURCE | dict.fromkeys(("targetBase64", "target"), "targetBase64"),
}
"""The fields that hold a file, by path, and the name of each in JSON."""

_LISTS = frozenset({"base64Array"})
_INTEGERS = frozenset({"index", "batchSize"})
_BOOLEANS = frozenset(
    {"loop", "enableRemix", "chooseSameChannel", "remix", "remixAutoConsidered", "nijiRemix"}
)
_OBJECTS = frozenset({"accountFilter", "filter"})
_TEXTS = (
    "prompt",
    "taskId",
    "customId",
    "content",
    "action",
    "state",
    "notifyHook",
    "botType",
    "dimensions",
    "motion",
    "videoType",
    "mode",
    "jobId",
    "sourceUrl",
    "targetUrl",
)
_NAMES = {name.lower(): name for name in (*_TEXTS, *_INTEGERS, *_BOOLEANS, *_OBJECTS)}
_WITH_BRACKETS = re.compile(r"(.+?)\[\d{0,3}\]")
_INSIDE = re.compile(r"(?:accountFilter|filter)\.[A-Za-z]+", re.IGNORECASE)


class FormFields(msgspec.Struct, frozen=True):
    """The parts that a path takes: `files` has the names of those that may be files, in small letters."""

    files: Mapping[str, str]

    def file(self, name: str) -> str:
        """The field that a file is. Raises `InvalidRequest` for a name that this path does not take."""
        field = self.files.get(_without_brackets(name).lower())
        if field is None:
            known = ", ".join(sorted(set(self.files.values()))) or "none"
            raise InvalidRequest(name, f"no file is expected here; the files of this path are: {known}")
        return field

    def text(self, name: str) -> str:
        """The field that a text is; its own name if hookchain does not know it."""
        plain = _without_brackets(name)
        return self.files.get(plain.lower()) or _NAMES.get(plain.lower(), name)


def form_of(path: str) -> FormFields | None:
    """What a form posted to this path may hold; None if the path takes no forms."""
    if not path.startswith(("submit/", "insight-face/")):
        return None
    return FormFields({name.lower(): field for name, field in _FILES.get(path, {}).items()})


def fields_of_form(parts: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The fields as in JSON, from the values of each field in the order in which they came. Raises `InvalidRequest`."""
    fields: dict[str, object] = {}
    inside: dict[str, dict[str, object]] = {}
    for name, values in parts.items():
        if _INSIDE.fullmatch(_without_brackets(name)):
            container, _, key = _without_brackets(name).partition(".")
            key = key[0].lower() + key[1:]
            kept = inside.setdefault(_NAMES[container.lower()], {})
            kept[key] = [*_listed(kept.get(key)), *values] if name.endswith("]") else _typed(key, values)
        elif name in _LISTS:
            fields[name] = list(values)
        elif (value := _typed(name, values)) is not None:
            fields[name] = value
    for name, kept in inside.items():
        if name in fields:
            raise InvalidRequest(name, "is given twice")
        fields[name] = kept
    return fields


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _typed(name: str, values: Sequence[str]) -> object:
    if len(values) > 1:
        return [_value(name, value) for value in values]
    return _value(name, values[0])


def _value(name: str, text: str) -> object:
    """A text in the type that the field has in JSON; None where a page's empty input says nothing."""
    if name in _INTEGERS | _BOOLEANS | _OBJECTS and not text.strip():
        return None
    if name in _INTEGERS and text.strip().isdecimal() and len(text) < 10:
        return int(text)
    if name in _BOOLEANS and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    if name in _OBJECTS:
        try:
            value = understood(text.encode())
        except Undecodable as error:
            raise InvalidRequest(name, error.reason) from error
        if not isinstance(value, dict):
            raise InvalidRequest(name, "must be a JSON object")
        return value
    return text


def _without_brackets(name: str) -> str:
    found = _WITH_BRACKETS.fullmatch(name)
    return found[1] if found else name
