"""How the servers of the family differ in their paths, authentication and answers, as data.

novicezk 2.3.5 and 2.6, Plus 3.7.5, trueai v11.10.3 and new-api follow their source code; the vendors follow their published
pages. The client that is tested against this shares none of it, so that both are independent readings of the same facts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from midjourney.sandbox.cors import Policy

TaskShape = Literal["nov", "plus", "tru", "go"]


class ServerProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The behaviour of one server. `serves`: its paths under `prefix`. `modes`: further prefixes with the same meaning;
    "{mode}" is any word.

    `auth`: the accepted ways to send the secret. `unauthorized`: the form of a 401. `returns_existing`: an upscale that was
    submitted before is answered 21 with its id. `rewrites_codes`: 22 becomes 1, and so does 21 except for Inpaint and
    CustomZoom. `refuses_with_400`: rejections are HTTP 400 with another envelope. `modal_description`: the description of an
    answer that opens a modal. `has_imagine_all`: it supports the button "Imagine all" under a describe. `timed_out`: the
    failReason of a task that Midjourney did not answer within five minutes. `ids`: what a list of ids may hold.
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
    returns_existing: bool = False
    rewrites_codes: bool = False
    refuses_with_400: bool = False
    drops_hooks: bool = False
    queue_full: Literal[9, 23] = 23
    modal_description: str = "等待窗口确认"
    bookmark_returns_parent: bool = False
    has_imagine_all: bool = False
    one_image: bool = False
    cors: Policy = "none"
    timed_out: str = "任务超时"
    ids: Literal["strings or numbers", "strings"] = "strings or numbers"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All prefixes under which it answers."""
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

PROFILES: dict[str, ServerProfile] = {
    profile.name: profile
    for profile in (
        ServerProfile(
            name="mj-plus",
            serves=_VENDOR
            | _CHANGES
            | {
                "account/{id}/fetch",
                "account/query",
                "task/{id}/cancel",
                "task/list",
                "task/list-by-ids",
                "task/query",
                "task/queue",
            },
            cors="spring",
        ),
        ServerProfile(name="novicezk", serves=_OPEN | {"account/list", "account/{id}/fetch"}, shape="nov"),
        ServerProfile(
            name="mj-proxy-2",
            serves=_OPEN,
            auth=frozenset({"mj-api-secret", "bearer"}),
            shape="nov",
            returns_existing=True,
            one_image=True,
        ),
        ServerProfile(
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
            modal_description="Waiting for window confirm",
            bookmark_returns_parent=True,
            has_imagine_all=True,
            cors="aspnet",
            timed_out="执行超时 5 分钟",
            ids="strings",
        ),
        ServerProfile(
            name="new-api",
            serves=_VENDOR | _CHANGES | _NEWER,
            modes=("{mode}",),
            auth=frozenset({"bearer", "mj-api-secret", "raw"}),
            unauthorized="openai",
            shape="go",
            unknown_task="400",
            rewrites_codes=True,
            refuses_with_400=True,
            drops_hooks=True,
            modal_description="Waiting for window confirm",
            cors="gin",
            ids="strings",
        ),
        ServerProfile(
            name="147ai", serves=_VENDOR, auth=frozenset({"raw"}), unauthorized="openai", integer_results=True
        ),
        ServerProfile(
            name="v1-relay",
            serves=_VENDOR,
            prefix="/v1/mj",
            auth=frozenset({"bearer"}),
            unauthorized="openai",
            integer_results=True,
            modal_description="Waiting for window confirm",
        ),
        ServerProfile(
            name="wenwen",
            serves=_VENDOR - {"submit/shorten"} | {"submit/edits", "task/{id}/refresh"},
            auth=frozenset({"raw"}),
            unauthorized="openai",
            unknown_task="code 4",
            text_plain=frozenset({"submit/modal"}),
        ),
    )
}
"""All servers that the sandbox can imitate, by the name of their dialect."""
