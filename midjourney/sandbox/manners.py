"""How the servers of the family differ in what they serve, ask for and answer, as data.

novicezk 2.3.5 and 2.6, Plus 3.7.5, trueai v11.10.3 and new-api after their sources; the vendors after their published
pages. Nothing here is shared with the client that is tested against it: two readings of the same facts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

TaskShape = Literal["nov", "plus", "tru", "go"]


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """One server's ways. `serves` are the paths under `prefix`; `modes` further prefixes that mean the same.

    `auth`: the ways to give the secret that are accepted; `unauthorized`: what a 401 looks like.
    `existed`: an upscale that was submitted before is answered 21 with its id. `rewrites`: 22, and 21 but for Inpaint
    and CustomZoom, become 1. `refuses_with_400`: rejections are HTTP 400 with another envelope.
    """

    name: str
    serves: frozenset[str]
    prefix: str = "/mj"
    modes: tuple[str, ...] = ()
    auth: frozenset[str] = frozenset({"mj-api-secret"})
    unauthorized: Literal["empty", "text", "openai"] = "empty"
    shape: TaskShape = "plus"
    integer_results: bool = False
    text_plain: frozenset[str] = frozenset()
    unknown_task: Literal["empty", "204", "400", "code 4"] = "empty"
    existed: bool = False
    rewrites: bool = False
    refuses_with_400: bool = False
    drops_hooks: bool = False
    queue_full: Literal[9, 23] = 23
    window_words: str = "等待窗口确认"
    bookmark_is_parent: bool = False
    reads_all: bool = False
    one_image: bool = False

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Every prefix it answers under."""
        return (self.prefix, *(f"/{mode}{self.prefix}" for mode in self.modes))


_OPEN = frozenset(
    {
        "submit/imagine",
        "submit/change",
        "submit/simple-change",
        "submit/blend",
        "submit/describe",
        "task/{id}/fetch",
        "task/list",
        "task/list-by-condition",
        "task/queue",
    }
)
_VENDOR = frozenset(
    {
        "submit/imagine",
        "submit/action",
        "submit/modal",
        "submit/blend",
        "submit/describe",
        "submit/shorten",
        "submit/upload-discord-images",
        "insight-face/swap",
        "task/{id}/fetch",
        "task/{id}/image-seed",
        "task/list-by-condition",
    }
)
_CHANGES = frozenset({"submit/change", "submit/simple-change"})
_NEWER = frozenset({"submit/edits", "submit/video"})
_MODES = ("mj-fast", "mj-turbo", "mj-relax")

MANNERS: dict[str, Manner] = {
    manner.name: manner
    for manner in (
        Manner(
            name="mj-plus",
            serves=_VENDOR
            | _CHANGES
            | {"task/{id}/cancel", "task/list", "task/list-by-ids", "task/query", "task/queue"},
        ),
        Manner(name="novicezk", serves=_OPEN | {"account/list"}, shape="nov"),
        Manner(
            name="mj-proxy-2",
            serves=_OPEN,
            auth=frozenset({"mj-api-secret", "bearer"}),
            shape="nov",
            existed=True,
            one_image=True,
        ),
        Manner(
            name="trueai",
            serves=_VENDOR
            | _NEWER
            | {
                "submit/edit",
                "submit/retexture",
                "submit/show",
                "insight-face/video-swap",
                "task/{id}/cancel",
                "task/list",
                "task/list-by-ids",
            },
            modes=_MODES,
            auth=frozenset({"mj-api-secret", "raw"}),
            unauthorized="text",
            shape="tru",
            unknown_task="204",
            queue_full=9,
            window_words="Waiting for window confirm",
            bookmark_is_parent=True,
            reads_all=True,
        ),
        Manner(
            name="new-api",
            serves=_VENDOR | _CHANGES | _NEWER,
            modes=_MODES,
            auth=frozenset({"bearer", "mj-api-secret", "raw"}),
            unauthorized="openai",
            shape="go",
            unknown_task="400",
            rewrites=True,
            refuses_with_400=True,
            drops_hooks=True,
            window_words="Waiting for window confirm",
        ),
        Manner(
            name="147ai", serves=_VENDOR, auth=frozenset({"raw"}), unauthorized="openai", integer_results=True
        ),
        Manner(
            name="v1-relay",
            serves=_VENDOR,
            prefix="/v1/mj",
            auth=frozenset({"bearer"}),
            unauthorized="openai",
            integer_results=True,
            window_words="Waiting for window confirm",
        ),
        Manner(
            name="wenwen",
            serves=_VENDOR - {"submit/shorten"} | {"submit/edits", "task/{id}/refresh"},
            auth=frozenset({"raw"}),
            unauthorized="openai",
            unknown_task="code 4",
            text_plain=frozenset({"submit/modal"}),
        ),
    )
}
"""Every server the sandbox can stand in for, by the name of its dialect."""
