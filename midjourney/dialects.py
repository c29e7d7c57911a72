"""Dialects: the differences between the vendors' APIs, as data; and upstreams: accounts, each with one dialect.

Sources of the facts: sections a to d of the protocol notes, that is the source code of novicezk 2.3.5 and 2.6.3 (Java),
Plus 3.7.5 (Java), trueai v11.10.3 (C#) and new-api (Go), and the vendors' published API pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from midjourney.paths import segment
from midjourney.statuses import Status

Auth = Literal["mj-api-secret", "bearer", "raw"]


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor's API.

    `paths` holds the existing endpoints, by kind of request, under `prefix`; "{id}" stands for a task's id.
    `auth` lists the headers in which hookchain sends the key: "mj-api-secret", "bearer" (Authorization: Bearer KEY) and "raw"
    (Authorization: KEY); `accepts` those that the vendor accepts, if they differ. If `presses` is "change", tasks have no buttons,
    and U1 is action UPSCALE with index 1.
    `takes_hook` and `takes_state` are the kinds that may carry `notifyHook` and `state`; `takes_bot_type` those that carry
    `botType`. `calls_back` is False if notifyHook is dropped unless an operator allows it.
    `existed_on` are the kinds for which a bare code 21 means "exists already" instead of "a modal needs an answer".
    `modes` are the speed modes: for each the prefix of its paths ("/mj-fast/mj"), or the word for the field `mode` of the body ("FAST").
    `statuses` are the vendor's own words for a status, in addition to those that all vendors share: COMPLETED = "SUCCESS".
    `presses_in_turn`: the results of two concurrent upscales of one grid can be swapped.
    `unknown_task` is the answer to a `fetch` of an unknown id, and `ids` the format of a submit's `result`; both serve only to
    distinguish dialects.
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
    modes: Mapping[str, str] = {}
    statuses: Mapping[str, Status] = {}

    def __post_init__(self) -> None:
        """Convert the words to capitals, in which they are compared."""
        words = {word.strip().upper(): Status(status) for word, status in self.statuses.items()}
        msgspec.structs.force_setattr(self, "statuses", words)

    def has(self, kind: str) -> bool:
        """True if the vendor has an endpoint for this kind of request."""
        return kind in self.paths

    def path(self, kind: str, task_id: str = "") -> str:
        """The path under the base URL. Raises `InvalidRequest` for an id that leads to another path, because ids come from callbacks,
        and KeyError if there is no such endpoint: check `has` first."""
        path = self.paths[kind]
        return f"{self.prefix}/{path.replace('{id}', segment(task_id)) if '{id}' in path else path}"


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
_PREFIXED = {mode: f"/mj-{mode}/mj" for mode in ("fast", "turbo", "relax")}
_TRUEAI = {
    "retexture": "submit/retexture",
    "show": "submit/show",  # SubmitController.cs until version 8; a newer server refuses it with 404, unpaid
    "video_swap": "insight-face/video-swap",
}


def _but(paths: Mapping[str, str], *kinds: str) -> dict[str, str]:
    return {kind: path for kind, path in paths.items() if kind not in kinds}


_MARKED = frozenset(
    {"imagine", "action", "change", "simple_change", "blend", "describe", "shorten", "swap", "edit", "video"}
    | _TRUEAI.keys()
)
"""Submits that carry notifyHook and state. A modal does not: every known server keeps those of the action that opened it."""

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
            paths=_BUTTONS | _FULL | _NEWER | _TRUEAI,
            takes_hook=_MARKED,
            takes_state=_MARKED,
            takes_bot_type=_BOTS,
            takes_image_links=True,
            unknown_task="204",
            longest_state=255,
            longest_hook=2000,
            modes=_PREFIXED,
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
            modes=_PREFIXED,  # any word: the operator decides which modes have a channel
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
            modes={"fast": "FAST", "turbo": "TURBO", "relax": "RELAX"},
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
            # Its page names a "refresh link" operation without a path; a fetch returns the present link.
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

_DAY_S = 24 * 3600

Seconds = Annotated[float, msgspec.Meta(ge=0, le=30 * _DAY_S)]
Price = Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)]


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account at a midjourney-proxy style API.

    `concurrency`: most requests under way at the same time; `rate`: most requests per second; `jobs`: most of our tasks that run at
    the same time (0: no limit). `timeout_s`: how long a request may take (Plus 3.7.5 takes up to 30 s to answer an action that
    opens a modal). `settle_after_s`: how long after the time-out of a request with an unknown outcome the upstream may still be
    working on it. `list_lag_s`: how far the upstream's own list of tasks may lag behind. `look_after_s`: how long after a submit its
    task is first polled, if no callback came; `quiet_s`: how long after the last callback it is polled again.
    `sweep_every_s`: how often its list is searched for tasks that should have called us, and never did (0: not at all).
    `longest_job_s`: after this time a submission with an unknown outcome no longer counts towards `jobs` (0: learned from tasks).
    `uncertain`: what happens to a submission that no evidence settles: "hold" it for a person, or "retry" it once.
    `overdue_after_s`: a task that has not ended, and of which nothing new was heard for so long, hangs (0: never).
    `news_within_s`: a task that is first seen longer than this after its end is history, and triggers nothing.
    `verify`: "fetch" reads a task back before money is spent because of a callback; "trust" does not. `prices`: the costs of kinds
    of submissions ("imagine", "upscale", "variation" …, "default"), in any currency. `private_hosts`: hosts in a private network
    ("minio:9000") whose images are loaded here and sent as data; so are images at its own `url`.
    """

    url: str
    key: str = ""
    dialect: str = DEFAULT_DIALECT
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 3
    rate: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.0
    jobs: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    timeout_s: Annotated[float, msgspec.Meta(ge=0.01, le=_DAY_S)] = 60.0
    settle_after_s: Seconds = 10.0
    list_lag_s: Seconds = 600.0
    look_after_s: Seconds = 1.0
    quiet_s: Seconds = 30.0
    sweep_every_s: Seconds = 0.0
    overdue_after_s: Seconds = 1800.0
    news_within_s: Annotated[float, msgspec.Meta(ge=0, le=36_500 * _DAY_S)] = 86_400.0
    longest_job_s: Seconds = 0.0
    verify: Literal["fetch", "trust"] = "fetch"
    uncertain: Literal["hold", "retry"] = "hold"
    prices: dict[str, Price] = {}
    private_hosts: list[str] = []
    name: str = ""
