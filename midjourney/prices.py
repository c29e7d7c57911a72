"""What a submission costs, by what it asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from midjourney.buttons import KINDS as BUTTON_KINDS
from midjourney.buttons import Button, action_of
from midjourney.requests import KINDS, Action, Change, SimpleChange, as_change, decode_request

PRICED = (
    frozenset((*KINDS, *BUTTON_KINDS, *(action_of(kind).lower() for kind in BUTTON_KINDS), "default"))
    - {"", "other"}
)  # fmt: skip
"""What can have a price."""


def price_of(kind: str, request: bytes, prices: Mapping[str, float]) -> float:
    """What one submission costs. A press is priced by what it does: "upscale", else by "action", else "default"."""
    names = (*_names(kind, request), "default")
    return next((prices[name] for name in names if name in prices), 0.0)


def _names(kind: str, request: bytes) -> tuple[str, ...]:
    if kind not in ("action", "change", "simple_change"):
        return (kind,)
    asked = decode_request(request)
    if isinstance(asked, SimpleChange):
        asked = as_change(asked)
    if isinstance(asked, Change):
        return (asked.action.lower(), kind)
    if isinstance(asked, Action):
        pressed = Button(custom_id=asked.custom_id).kind
        return (pressed, action_of(pressed).lower(), kind)
    return (kind,)
