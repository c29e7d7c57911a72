"""Escape texts from strangers before they reach a terminal.

Prompts, ids and reasons come from strangers, and terminals interpret control characters: an escape sequence can change the
clipboard (OSC 52), a line end can fake a line, and bidirectional marks can reorder one.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

_JOINERS = "\u200c\u200d"
"""Allowed: Persian words and emoji sequences need them, and they do not move text."""

CONTROL_CHARACTERS = re.compile(
    "["
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b"
    r"\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0001\U000e0020-\U000e007f"
    "]"
)
"""Control and format characters (Cc, Cf), line and paragraph separators, and surrogates. The list is written out because
collecting them from Unicode takes longer than a health check."""

T = TypeVar("T")


def printable(text: str) -> str:
    """The text in one line, with control characters as escapes such as \\n, \\x1b and \\u202e."""
    return CONTROL_CHARACTERS.sub(lambda match: ascii(match[0])[1:-1], text)


def printable_in(value: T) -> T:
    """The value with `printable` applied to all texts in it. Its type stays the same."""
    if isinstance(value, str):
        return printable(value)  # type: ignore[return-value]
    if isinstance(value, list):
        return [printable_in(item) for item in value]  # type: ignore[return-value]
    if isinstance(value, dict):
        return {printable_in(key): printable_in(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, msgspec.Struct):
        texts = {name: printable_in(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **texts)
    return value
