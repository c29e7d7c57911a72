"""How one vendor's API differs from the next, as data; and an upstream: one account that speaks one dialect.

Facts and their sources: sections a to d of the protocol notes, that is the sources of novicezk 2.3.5 and 2.6.3 (Java),
Plus 3.7.5 (Java), trueai v11.10.3 (C#), new-api (Go), and the vendors' published API pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import msgspec

Auth = Literal["mj-api-secret", "bearer", "raw"]


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be known to speak to a vendor.

    `paths` holds the endpoints that exist, by kind of request or question, under `prefix`; "{id}" is a task's id.
    `auth` names the headers that carry the key: "mj-api-secret", "bearer" (Authorization: Bearer KEY) and "raw"
    (Authorization: KEY); `accepts` those that it takes, where they are others. Where `presses` is "change" there are no buttons, and U1 is action UPSCALE with index 1.
    `takes_hook` and `takes_state` are the kinds that may carry `notifyHook` and `state`; `takes_bot_type` those that
    carry `botType`. `calls_back` is False where notifyHook is dropped unless an operator allows it.
    `existed_on` are the kinds on which a bare code 21 means "exists already" instead of "a window waits".
    `presses_in_turn`: with two upscales of one grid under way their results can be swapped.
    `unknown_task` is how a `fetch` of an id that nobody knows is answered, and `ids` how a submit's `result` is
    written; both only tell dialects apart.
    """

    name: str
    about: str = ""
    prefix: str = "/mj"
    auth: tuple[Auth, ...] = ("mj-api-secret", "bearer")
    accepts: tuple[Auth, ...] = ()
    paths: Mapping[str, str]
    presses: Literal["action", "change"] = "action"
    takes_hook: frozenset[str] = frozenset()
    takes_state: frozenset[str] = frozenset()
    takes_bot_type: frozenset[str] = frozenset()
    calls_back: bool = True
    image_field: Literal["base64Array", "base64"] = "base64Array"
    takes_image_links: bool = False
    existed_on: frozenset[str] = frozenset({"change", "simple_change"})
    presses_in_turn: bool = False
    unknown_task: Literal["empty", "204", "code 4"] = "empty"
    ids: Literal["string", "integer"] = "string"
    longest_state: int | None = None
    longest_hook: int | None = None

    def has(self, kind: str) -> bool:
        """Whether the vendor has an endpoint for this kind of request or question."""
        return kind in self.paths

    def path(self, kind: str, task_id: str = "") -> str:
        """The path under the base address; ids come from callbacks, and are quoted. Raises KeyError where there is none: ask
        `has` first."""
        return f"{self.prefix}/{self.paths[kind].replace('{id}', quote(task_id, safe=''))}"


_OPEN = {
    "imagine": "submit/imagine",
    "change": "submit/change",
    "simple_change": "submit/simple-change",
    "blend": "submit/blend",
    "describe": "submit/describe",
    "fetch": "task/{id}/fetch",
    "list_by_condition": "task/list-by-condition",
    "list": "task/list",
}
_BUTTONS = {
    "imagine": "submit/imagine",
    "action": "submit/action",
    "modal": "submit/modal",
    "blend": "submit/blend",
    "describe": "submit/describe",
    "shorten": "submit/shorten",
    "swap": "insight-face/swap",
    "upload": "submit/upload-discord-images",
    "fetch": "task/{id}/fetch",
    "image_seed": "task/{id}/image-seed",
    "list_by_condition": "task/list-by-condition",
}
_CHANGES = {"change": "submit/change", "simple_change": "submit/simple-change"}
_FULL = {"cancel": "task/{id}/cancel", "list": "task/list"}
_NEWER = {"edit": "submit/edits", "video": "submit/video"}


def _but(paths: Mapping[str, str], *kinds: str) -> dict[str, str]:
    return {kind: path for kind, path in paths.items() if kind not in kinds}


_MARKED = frozenset(
    {"imagine", "action", "change", "simple_change", "blend", "describe", "shorten", "swap", "edit", "video"}
)
"""Submits that carry notifyHook and state. A modal never does: every known server keeps those of its action."""

_BOTS = frozenset({"imagine", "blend", "shorten"})

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="mj-plus",
            about="midjourney-proxy-plus 3, and relays over it",
            accepts=("mj-api-secret",),
            paths=_BUTTONS | _CHANGES | _FULL,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            presses_in_turn=True,
        ),
        Dialect(
            name="novicezk",
            about="novicezk/midjourney-proxy 2.4 and later (open source, Java)",
            auth=("mj-api-secret",),
            paths=_OPEN | {"accounts": "account/list"},
            presses="change",
            takes_hook=_MARKED,
            takes_state=_MARKED,
        ),
        Dialect(
            name="mj-proxy-2",
            about="novicezk/midjourney-proxy up to 2.3.5, and vendors with that API",
            paths=_OPEN,
            presses="change",
            takes_hook=_MARKED,
            takes_state=_MARKED,
            image_field="base64",
        ),
        Dialect(
            name="trueai",
            about="trueai-org/midjourney-proxy 11 (open source, C#)",
            auth=("mj-api-secret", "raw"),  # it does not strip "Bearer "
            paths=_BUTTONS | _FULL | _NEWER,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            takes_image_links=True,
            unknown_task="204",
            longest_state=255,
            longest_hook=2000,
        ),
        Dialect(
            name="new-api",
            about="QuantumNous/new-api and Calcium-Ion/new-api, and most relays built on them",
            auth=("bearer",),
            accepts=("bearer", "mj-api-secret", "raw"),  # "Bearer " is optional there
            paths=_BUTTONS | _CHANGES | _NEWER,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            calls_back=False,
            takes_image_links=True,
            presses_in_turn=True,
            unknown_task="code 4",
        ),
        Dialect(
            name="147ai",
            about="147ai and vendors that want the key bare in Authorization",
            auth=("raw",),
            paths=_BUTTONS,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            presses_in_turn=True,
            ids="integer",
        ),
        Dialect(
            name="v1-relay",
            about="relays that serve everything under /v1/mj",
            prefix="/v1/mj",
            auth=("bearer",),
            paths=_BUTTONS,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            presses_in_turn=True,
            ids="integer",
        ),
        Dialect(
            name="wenwen",
            about="wenwen: twelve endpoints, the key bare in Authorization, JSON as text/plain after a modal",
            auth=("raw",),
            # Its page names a "refresh link" operation without a path: a fetch gives the present link.
            paths=_but(_BUTTONS, "shorten") | {"edit": "submit/edits", "refresh": "task/{id}/fetch"},
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            presses_in_turn=True,
            unknown_task="code 4",
        ),
    )
}
"""The shipped dialects by name."""

DEFAULT_DIALECT = "mj-plus"


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account at a midjourney-proxy style API.

    `concurrency` is how many requests may be under way to it at once, `rate` how many a second, `jobs` how many of our
    tasks (0: no limit); `timeout_s` how long a request may take (Plus 3.7.5 answers an action that opens a window only
    after up to 30 s); `settle_after_s` how long after a request that nobody knows the end of the upstream's own list of
    tasks is trusted to show it, or not. `look_after_s` after a submit its task is asked about once, if it has not
    called; `quiet_s` without a word, and it is asked about again.
    `uncertain` says what becomes of a submission that no evidence settles: "hold" it for a person, or "retry" it once.
    `verify` "fetch" reads a task back before money is spent on a callback's word; "trust" does not. `prices` are what
    a kind of submission costs ("imagine", "upscale", "variation" …, "default"), in whatever currency.
    """

    url: str
    key: str = ""
    dialect: str = DEFAULT_DIALECT
    concurrency: int = 3
    rate: float = 0.0
    jobs: int = 0
    timeout_s: float = 60.0
    settle_after_s: float = 10.0
    look_after_s: float = 1.0
    quiet_s: float = 30.0
    verify: Literal["fetch", "trust"] = "fetch"
    uncertain: Literal["hold", "retry"] = "hold"
    prices: dict[str, float] = {}
    name: str = ""
