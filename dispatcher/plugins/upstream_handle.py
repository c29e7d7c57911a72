"""An upstream as a chain may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from midjourney.dialects import Dialect
from midjourney.links import Near
from storage.tasks.believe import TaskReport


class UpstreamHandle(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain may use of an upstream: its name, its dialect, the private links it allows, and functions that ask it for the
    current URL of a task's image (`refresh`) and for the task itself (`read_back`). `zone` is that of times without one; `mistake_in` finds what is wrong
    with an `unless`."""

    name: str
    dialect: Dialect
    near: Near = Near()
    refresh: Callable[[str], Awaitable[str]] | None = None
    read_back: Callable[[str], Awaitable[TaskReport]] | None = None
    zone: str = "UTC"
    mistake_in: Callable[[str], str] | None = None
