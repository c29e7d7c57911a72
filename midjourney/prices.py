"""The price of a submission, by its request. Performs no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from midjourney.buttons import KINDS as BUTTON_KINDS
from midjourney.buttons import Button, action_of
from midjourney.requests import KINDS, Action, Change, SimpleChange, as_change, decode_request

PRICED = (
    frozenset((*KINDS, *BUTTON_KINDS, *(action_of(kind).lower() for kind in BUTTON_KINDS), "default"))
    - {"", "other"}
)  # fmt: skip
"""The names that can have a price."""


def price_of(kind: str, request: bytes, prices: Mapping[str, float]) -> float:
    """The price of one submission. A press has the price of what it does, such as "upscale", otherwise of "action", otherwise the
    "default"."""
    names = (*_names(kind, request), "default")
    return next((prices[name] for name in names if name in prices), 0.0)


def _names(kind: str, request: bytes) -> tuple[str, ...]:
    if kind not in ("action", "change", "simple_change"):
        return (kind,)
    decoded = decode_request(request)
    if isinstance(decoded, SimpleChange):
        decoded = as_change(decoded)
    if isinstance(decoded, Change):
        return (decoded.action.lower(), kind)
    if isinstance(decoded, Action):
        pressed = Button(custom_id=decoded.custom_id).kind
        return (pressed, action_of(pressed).lower(), kind)
    return (kind,)
