"""The clients of the gateway, and the pools of accounts behind it, as they are configured. Values only: no I/O."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Children = Literal["hide", "list", "tell"]
Codes = Literal["plain", "upstream"]
Pictures = Literal["upstream", "proxy"]
Order = Literal["order", "weight", "free"]

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]

_DAY_S = 24 * 3600


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client of the gateway: a program that submits here as if hookchain were its upstream.

    `key`: its key in the file; "" if only stored keys (`hookchain keys`) are valid. `pool`: the name of a pool, or of an upstream,
    or several upstreams in order; "" for all upstreams, "main" first. `rules`: whether the operator's rules and plugins act on its
    tasks; a list names the only ones that do. `children`: "hide" the tasks that rules add to its own, "list" them, or "tell" its
    notifyHook about them too.

    Limits: `submissions_per_day` and `spend_per_day` (None: no limit) by the day of `timezone`; `rate`: submits per second (0: no
    limit); `at_once`: tickets that have not ended (0: no limit); `queue_max`: tickets that wait for an upstream; `wait_max_s`: how
    long each of them waits before it ends as FAILURE, unpaid.

    `notify_hook`: the hook for submits without one of their own; `hook_hosts`: where hooks may be besides public addresses: a
    host, a host with a port, or a network ("10.0.0.0/8"); `hook_secret`: signs what its hooks are sent ("whsec_…", "": unsigned).
    `codes`: "plain" answers 1 for everything that was accepted, "upstream" also 22 for what waits. `keep_cancel`: show the status
    CANCEL, which most clients do not know, instead of FAILURE. `pictures`: image URLs as the upstream gives them, or our own.
    """

    key: str = ""
    pool: str | list[str] = ""
    rules: bool | list[str] = True
    children: Children = "hide"
    submissions_per_day: Count | None = None
    spend_per_day: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None
    rate: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.0
    at_once: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    hook_hosts: list[str] = []
    notify_hook: str = ""
    hook_secret: str = ""
    codes: Codes = "plain"
    keep_cancel: bool = False
    pictures: Pictures = "upstream"
    queue_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    wait_max_s: Annotated[float, msgspec.Meta(ge=1, le=30 * _DAY_S)] = 3600.0
    name: str = ""


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upstreams that clients share.

    `order`: which upstream new work goes to first: as listed ("order"), at random by `weights` ("weight"), or the one with the most
    free places ("free"). `weights`: by upstream; 1 for those that are missing, 0 for no new work. `modes`: for each upstream the
    modes that it serves ({main = ["fast"], spare = ["relax"]}); one that is missing serves all. `mode_fallback`: the mode to use
    when no upstream of the requested mode can take the work; "" to wait for one.
    """

    upstreams: list[str] = []
    order: Order = "order"
    weights: dict[str, Weight] = {}
    modes: dict[str, list[str]] = {}
    mode_fallback: str = ""
    name: str = ""
