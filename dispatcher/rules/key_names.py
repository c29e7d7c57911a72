"""Which key of a rule was meant by an unknown one: the nearest in spelling, or the one that does what the word says."""

from __future__ import annotations

import difflib

from dispatcher.rules.model import KEYS
from dispatcher.rules.spelling import nearest

_MEANT = {
    "delay": "after",
    "wait": "after",
    "when": "if",
    "condition": "if",
    "where": "if",
    "unless": "if",
    "signal": "on",
    "event": "on",
    "cron": "every",
    "schedule": "every",
    "daily": "every",
    "weekly": "every",
    "catch_up": "missed",
    "trigger": "on",
    "button": "press",
    "buttons": "press",
    "click": "press",
    "upscale": "press",
    "variation": "vary",
    "video": "animate",
    "prompt": "imagine",
    "submit": "imagine",
    "answer": "modal",
    "mask": "modal",
    "retry": "repeat",
    "again": "repeat",
    "max": "limit",
    "times": "limit",
    "once": "once_per",
    "active": "enabled",
    "disabled": "enabled",
    "comment": "description",
    "variables": "vars",
    "let": "vars",
    "save": "archive",
    "webhook": "forward",
    "url": "forward",
    "split": "split_grid",
    "tell": "notify",
    "account": "upstream",
}
"""Words of other programs, and of people, for our keys."""


def meant_key(key: str) -> str:
    """The key that was meant, or ""."""
    if key.lower() in _MEANT:
        return _MEANT[key.lower()]
    return next(iter(difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)), "")


def nearest_key(key: str) -> str:
    """' Did you mean "press"?', or, if no known key is close, the list of the known ones."""
    return f' Did you mean "{meant}"?' if (meant := meant_key(key)) else nearest(key, KEYS)
