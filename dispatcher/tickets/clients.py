"""Clients of the gateway, and the pools of accounts that they use: settings, without keys. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client."""

    name: str = ""
    key: str = ""
    pool: str | list[str] = ""
    rules: bool | list[str] = True
    children: Literal["hide", "list", "tell"] = "hide"
    submissions_per_day: Count | None = None
    spend_per_day: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    rate: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.0
    at_once: Count = 0
    hook_hosts: list[str] = []
    notify_hook: str = ""
    hook_secret: str = ""
    codes: Literal["plain", "upstream"] = "plain"
    keep_cancel: bool = False
    pictures: Literal["upstream", "proxy"] = "upstream"
    queue_max: Count = 1000
    wait_max_s: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 3600.0
