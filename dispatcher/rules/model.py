"""The keys of a `[[rules]]` table, as written in TOML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from dispatcher.plugins.submit_options import Priority
from dispatcher.policy.occurrences import Missed
from storage.deliveries.firings import HIGHEST_LIMIT
from storage.records import STRUCK


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ModalAnswer(_Table, frozen=True, kw_only=True):
    """The answer to a modal. `prompt` is a template; `mask` is a PNG file, a data URL, or a region's name."""

    prompt: str = "{{ modal.prompt }}"
    mask: str = ""


class ImagineWith(_Table, frozen=True, kw_only=True):
    """A new prompt. All are templates; `images` are URLs or files."""

    prompt: str
    images: list[str] = []
    bot_type: Literal["", "MID_JOURNEY", "NIJI_JOURNEY"] = ""


class BlendWith(_Table, frozen=True, kw_only=True):
    """Two to five images to blend: templates of URLs, or files."""

    images: list[str]
    dimensions: Literal["", "PORTRAIT", "SQUARE", "LANDSCAPE"] = ""


class ArchiveTo(_Table, frozen=True, kw_only=True):
    """Where images are kept: a folder, or s3://bucket/prefix."""

    to: str


class ForwardTo(_Table, frozen=True, kw_only=True):
    """Another system, and the secret to sign with (whsec_…). `url` may be a template. `body`: the event, the task as a client of the
    upstream would get it, or a template of a text with this `content_type`; instead of it, `json` is a table or list whose texts are
    templates. `headers` are templates too."""

    url: str
    secret: str = ""
    body: str = "event"
    json: dict[str, Any] | list[Any] | None = None
    headers: dict[str, str] = {}
    method: Literal["POST", "PUT"] = "POST"
    content_type: str = ""


class NotifyTo(_Table, frozen=True, kw_only=True):
    """Whom to notify: Apprise addresses. `text` and `title` are templates. `attach`: the picture (on a join, those of the chain), the four
    quarters of a grid, or templates of addresses of pictures."""

    to: str | list[str]
    text: str = "{{ task.action }} {{ task.status }}: {{ task.prompt }}"
    title: str = ""
    attach: bool | Literal["quarters"] | list[str] = False


class ApproveBy(_Table, frozen=True, kw_only=True, rename={"otherwise": "else"}):
    """Who is asked for an approval: Apprise addresses (`notify`), or a URL (`forward`); none: the dashboard, the API and the command
    line show it. `text` and `title` are templates. `expires` is how long it stays open, and `else` what happens then."""

    notify: str | list[str] = []
    forward: str | ForwardTo = ""
    text: str = (
        "{{ approval.wants }}\n{{ task.prompt }}\nDecide until {{ approval.expires }}: {{ approval.url }}"
    )
    title: str = "Approve?"
    expires: float | str = "24 h"
    otherwise: Literal["drop", "send"] = "drop"


class Rule(_Table, frozen=True, kw_only=True, rename={"when": "if"}):
    """One `[[rules]]` table: when it fires (`on` or `every`, `if`, `once_per`, `limit`), what it does, and with which options.

    `on`: a signal, or a list of signals, for each of which it fires in the same way.
    `every` instead: times, as "0 9 * * mon Europe/Berlin". With `missed` "once" it fires once for times that passed while no server ran; with "skip", not.

    `enabled`: whether it runs; a rule that does not is checked all the same. `description` is for people.
    `press` takes labels, globs, kinds or customIds; a `modal` beside a press answers the modals that the press opens.
    `after` is in seconds or a text such as "10 min"; `at` is a time of day, and `unless` is asked when it is due; `mode` is a speed mode of
    the upstream; `state` comes back as `task.state` of the submitted task. `vars` are names for values: `vars.factor`.
    With `approve`, what it submits is held until a person releases it.
    """

    name: str
    on: str | list[str] = ""
    every: str = ""
    missed: Missed = "skip"
    description: str = ""
    enabled: bool = True
    when: str = ""
    once_per: Literal["", "task", "root", "chain"] = ""
    limit: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_LIMIT)] = 0

    press: str | list[str] = []
    vary: Literal["", "subtle", "strong", "region"] = ""
    zoom: float | str = ""
    pan: Literal["", "left", "right", "up", "down"] = ""
    animate: Literal["", "low", "high"] = ""
    modal: str | ModalAnswer | None = None
    imagine: str | ImagineWith = ""
    blend: list[str] | BlendWith = []
    describe: str = ""
    shorten: str = ""
    repeat: bool = False
    cancel: bool = False
    archive: str | ArchiveTo = ""
    split_grid: str | ArchiveTo = ""
    forward: str | ForwardTo = ""
    notify: str | list[str] | NotifyTo = ""

    after: float | str = 0
    at: str = ""
    unless: str = ""
    priority: Priority = 0
    upstream: str = ""
    mode: str = ""
    state: str = ""
    approve: bool | ApproveBy = False
    vars: dict[str, str | int | float | bool | list[str | int | float | bool]] = {}

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that it hears."""
        if self.every:
            return (STRUCK,)
        return (self.on,) if isinstance(self.on, str) else tuple(self.on)


KEYS = tuple(field.encode_name for field in msgspec.structs.fields(Rule))

PRESSES = ("press", "vary", "zoom", "pan", "animate")
"""Keys that press buttons of the event's task."""

STAGED = (*PRESSES, "modal", "imagine", "blend", "describe", "shorten", "repeat", "cancel")
"""Keys that submit something; a rule's submissions for one event are staged together."""

EFFECTS = ("archive", "split_grid", "forward", "notify")
"""Keys that reach other systems; each is a receiver of its own, so that a failing one delays nothing else."""

TABLES: dict[str, type[msgspec.Struct]] = {
    "modal": ModalAnswer,
    "imagine": ImagineWith,
    "blend": BlendWith,
    "archive": ArchiveTo,
    "split_grid": ArchiveTo,
    "forward": ForwardTo,
    "notify": NotifyTo,
    "approve": ApproveBy,
}
"""Keys whose value may be a table, and the type of that table."""
