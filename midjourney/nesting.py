"""How deep a body is nested. What reads JSON calls itself for every level, pages from far down the stack: what a callback's
endpoint could still read, they could not."""

from __future__ import annotations

import re
from itertools import accumulate

DEEPEST = 100
"""Levels. No sender has more than five; a probe has a thousand."""

_BRACKETS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHERS = bytes(set(range(256)) - _BRACKETS.keys())
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def is_too_deep(body: bytes) -> bool:
    """Whether JSON has more than `DEEPEST` levels. Nearly all of it has fewer brackets than that, and they are counted
    first: that takes a microsecond."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    brackets = _TEXT.sub(b"", body).translate(None, _OTHERS)
    return max(accumulate(map(_BRACKETS.__getitem__, brackets)), default=0) > DEEPEST
