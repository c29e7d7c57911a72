"""The result of examining an upstream without spending money, as `hookchain doctor` and the set-up page show it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How well a dialect fits an upstream: how many of the observed facts agree with it."""

    dialect: str
    agree: int
    seen: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about an upstream, and what to do about it."""

    name: str
    url: str
    healthy: bool
    reachable: bool
    took_ms: int | None
    why: str
    key: str
    key_accepted_in: list[str]
    prefix: str
    dialect: str
    configured_dialect: str | None
    fits: list[Fit]
    notify_hook: str
    notify_hook_reached: Literal["yes", "unknown"]
    last_callback_at: str | None
    advice: list[str]
