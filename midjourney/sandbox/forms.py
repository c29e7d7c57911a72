"""Multipart forms: trueai takes its video swap as one, and in no other way (`[FromForm] InsightVideoFaceSwapDto`)."""

from __future__ import annotations

import base64

import msgspec
from starlette.datastructures import UploadFile
from starlette.requests import Request

PATH = "insight-face/video-swap"

LARGEST_BYTES = 64 * 1024 * 1024


async def body_of(path: str, request: Request) -> bytes | None:
    """The body of a submit as JSON; a file in it is a data URL. None if this path takes no such body (ASP.NET answers 415)."""
    is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
    if is_form != (path == PATH):
        return None
    if not is_form:
        return await request.body()
    fields: dict[str, object] = {}
    async with request.form(max_part_size=LARGEST_BYTES) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                content = base64.b64encode(await value.read()).decode()
                _put(fields, name, f"data:{value.content_type};base64,{content}")
            else:
                _put(fields, name, value)
    return msgspec.json.encode(fields)


def _put(fields: dict[str, object], name: str, value: str) -> None:
    """Put a value where ASP.NET's binder does: `accountFilter.modes[0]` is in an object."""
    outer, dot, inner = (name[:1].lower() + name[1:]).partition(".")
    if not dot:
        fields[name] = value
        return
    kept = fields.setdefault(outer, {})
    assert isinstance(kept, dict), "a field is an object or a text"
    kept[inner.partition("[")[0]] = value
