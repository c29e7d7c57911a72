"""A body as JSON, also as some writers get it a little wrong: with a mark at its begin, with half a character, or with a
number that is too large. What is kept is the body as it came; whoever reads it again reads it by this."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

_BOM = b"\xef\xbb\xbf"

# A pair is a character beyond U+FFFF; JSON writers of Node and Python write half of one where a text was cut within it.
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_patient = msgspec.json.Decoder(float_hook=float)  # to which 1e999 is infinite


def text_of(body: bytes) -> bytes:
    """The JSON of a body, without a byte-order mark."""
    return body.removeprefix(_BOM)


def parsed(body: bytes, decode: Callable[[bytes], Any] | None = None) -> Any:
    """What a body says, by `decode` if that is given; else a number that is too large is infinite.

    Raises as `msgspec.json.decode` does for what is no JSON.
    """
    text = text_of(body)
    try:
        return (decode or msgspec.json.decode)(text)
    except msgspec.DecodeError:
        return (decode or _patient.decode)(_whole(text))


def _whole(text: bytes) -> bytes:
    """JSON with U+FFFD in the place of each half of a character."""
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)
