"""The decoder that the prototype's `ingest.py` imports: the fields of a callback that it reads."""

from __future__ import annotations

import msgspec


class _Button(msgspec.Struct, rename="camel"):
    custom_id: str = ""


class _Callback(msgspec.Struct, rename="camel"):
    id: str
    status: str = ""
    progress: str | None = None
    action: str | None = None
    image_url: str | None = None
    buttons: list[_Button] = []


decoder = msgspec.json.Decoder(_Callback)
