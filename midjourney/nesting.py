"""Checks how deep a body is nested. JSON readers recurse for every level, and pages start deep in the stack: they could not read
what a callback's endpoint could still read."""

from __future__ import annotations

import re
from itertools import accumulate

DEEPEST = 100
"""Levels. Known senders use at most five; a probe may use a thousand."""

MOST_BRACKETS = 1_000_000
"""A body with more is not cut, because that takes a second. 8,000 tasks of the longest known ones have a quarter of it."""

_BRACKETS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHERS = bytes(set(range(256)) - _BRACKETS.keys())
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def is_too_deep(body: bytes) -> bool:
    """True if JSON has more than `DEEPEST` levels. Counts brackets first, which takes 1 µs: nearly all JSON has fewer than that."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    brackets = _TEXT.sub(b"", body).translate(None, _OTHERS)
    return max(accumulate(map(_BRACKETS.__getitem__, brackets)), default=0) > DEEPEST


def cut(body: bytes) -> tuple[bytes, bytes]:
    """The JSON with a text in place of each value below `DEEPEST` levels, and that text, which occurs nowhere else; b"" if nothing
    was cut. So one part of a long answer that is nested too deep leaves the others readable."""
    if not is_too_deep(body) or body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        return body, b""
    mark = b"nested too deep"
    while mark in body:
        mark += b"!"
    kept: list[bytes] = []
    depth = end = 0
    for found in _TOKEN.finditer(body):
        step = _BRACKETS.get(found[0][0], 0)
        depth += max(step, 0)
        if depth == DEEPEST + 1 and step > 0:
            kept += [body[end : found.start()], b'"', mark, b'"']
        if depth == DEEPEST + 1 and step < 0:
            end = found.end()
        depth += min(step, 0)
    if depth > DEEPEST:
        end = len(body)  # it ends within what was cut, and cannot be read anyway
    return b"".join([*kept, body[end:]]), mark
