"""How one vendor's API differs from the next, as data; and an upstream: one account that speaks one dialect."""

from __future__ import annotations

from typing import Literal

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known to speak to a vendor.

    `auth` names the headers that carry the key: "mj-api-secret", "bearer" (Authorization: Bearer KEY) and "raw"
    (Authorization: KEY). `presses` is the endpoint that presses a button; where it is "change" there are no buttons
    and U1 to U4 are an index. `takes_hook` and `takes_state` tell whether submissions may carry `notifyHook` and
    `state`; they never do on `modal`, where every known server keeps those of the action.
    """

    name: str
    prefix: str = "/mj"
    auth: tuple[str, ...] = ("mj-api-secret", "bearer")
    presses: Literal["action", "change"] = "action"
    takes_hook: bool = True
    takes_state: bool = True


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        # Plus 3.7.5 checks only mj-api-secret; relays over it read Authorization. No dialect is reported to mind both.
        Dialect(name="mj-plus"),
        # novicezk 2.6: no buttons and no action endpoint; U1 is submit/change with action UPSCALE and index 1.
        Dialect(name="novicezk", auth=("mj-api-secret",), presses="change"),
        # trueai v11 does not strip "Bearer ", so the key goes raw.
        Dialect(name="trueai", auth=("mj-api-secret", "raw")),
    )
}
"""The shipped dialects by name."""

DEFAULT_DIALECT = "mj-plus"


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account at a midjourney-proxy style API.

    `concurrency` is how many requests may be under way to it at once; `timeout_s` how long one may take (Plus 3.7.5
    answers an action that opens a window only after up to 30 s); `settle_after_s` how long after a request that
    nobody knows the end of the upstream's own list of tasks is trusted to show it, or not.
    """

    url: str
    key: str = ""
    dialect: str = DEFAULT_DIALECT
    concurrency: int = 3
    timeout_s: float = 60.0
    settle_after_s: float = 10.0
    name: str = ""


def dialect_of(upstream: Upstream) -> Dialect:
    """The dialect an upstream speaks. Settings have checked the name."""
    return DIALECTS[upstream.dialect]
