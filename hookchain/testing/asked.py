"""What the test kit answers with: what receivers asked for, what left, and what would have reached other systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from midjourney.requests import Request


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One submission that a receiver asked for. `after_s` is its delay; `refused` names the limit that prevents it, or is "".

    `id` is that of the submission in the kit's database.
    """

    receiver: str
    kind: str
    label: str
    request: Request
    after_s: float = 0.0
    priority: int = 0
    upstream: str = ""
    chain_id: str = ""
    depth: int = 0
    refused: str = ""
    id: str = ""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request that would have left. `id` is that of its `Ask`; `body` is its JSON, empty if it is a form."""

    id: str
    kind: str
    label: str
    upstream: str
    path: str
    body: Mapping[str, object]


class Forwarded(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that would have left: `json` is its decoded `body`. The names of `headers` are in lower case."""

    receiver: str
    method: str = "POST"
    url: str
    body: str
    headers: Mapping[str, str]

    @property
    def json(self) -> object:
        """The body as a value."""
        return msgspec.json.decode(self.body)

    @property
    def is_signed(self) -> bool:
        """True if it carries a signature."""
        return "webhook-signature" in self.headers


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notification that would have left. `attached` are the addresses of its pictures."""

    receiver: str
    to: tuple[str, ...]
    title: str
    text: str
    attached: tuple[str, ...] = ()


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A file that would have been stored in the folder or bucket `to`."""

    receiver: str
    to: str
    name: str


class Asked(msgspec.Struct, kw_only=True):
    """What came of one event, or of the passing of time. `signal` is None if the callback was stale: then no receiver ran.

    `asks` are new submissions, `repeats` those that were asked for before and are not submitted again. `sent` are the requests
    that would have left, in order. `forwarded`, `told` and `archived` would have reached other systems. `decisions` are what
    `hookchain explain` would print, and `failed` the errors of receivers, both by receiver. `store` is all that `chain.store` holds in a chain in
    which a receiver changed it; {} if none did.
    """

    signal: str | None
    asks: list[Ask] = []
    repeats: list[Ask] = []
    decisions: dict[str, str] = {}
    sent: list[Sent] = []
    forwarded: list[Forwarded] = []
    told: list[Told] = []
    archived: list[Archived] = []
    failed: dict[str, str] = {}
    store: dict[str, Any] = {}

    @property
    def pressed(self) -> list[str]:
        """Labels of the buttons that would be pressed."""
        return [ask.label for ask in self.asks if ask.kind in ("action", "change") and not ask.refused]

    @property
    def prompts(self) -> list[str]:
        """Prompts that would be submitted, by imagine and by modal."""
        return [
            str(getattr(ask.request, "prompt", ""))
            for ask in self.asks
            if ask.kind in ("imagine", "modal") and not ask.refused
        ]
