"""Finds the id of a task in the beginning of a body whose rest was not read."""

from __future__ import annotations

import re

import msgspec

from midjourney.decode import LONGEST_ID

PEEK_BYTES = 64 * 1024
"""How much of a body is examined. Ids come first, or after a prompt and some URLs; only images are large."""

_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*+(?P<ends>"?)|[{}\[\]:,]|[^\s"{}\[\]:,]++', re.DOTALL)


def first_id(start: bytes) -> str:
    """The value of the outermost object's first "id", a string or an integer; "" if there is none."""
    depth, before, key = 0, b"", b""
    for match in _PIECE.finditer(start[:PEEK_BYTES]):
        piece = match[0]
        if piece[:1] == b'"' and not match["ends"]:
            return ""  # the body is cut within this string
        if depth == 1 and before == b":" and key == b'"id"':
            return _id(piece) if match.end() < len(start) else ""
        if piece in (b"{", b"["):
            depth += 1
        elif piece in (b"}", b"]"):
            depth -= 1
        elif piece == b":":
            key = before
        if depth == 0:
            return ""  # the outermost value is not an object, or has ended
        before = piece
    return ""


def _id(written: bytes) -> str:
    try:
        value = msgspec.json.decode(written, type=int | str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    text = str(value).strip()
    return text if len(text) <= LONGEST_ID and text.isprintable() else ""
