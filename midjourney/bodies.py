"""Parses JSON bodies, including the small errors of some writers: a byte-order mark, half of a surrogate pair, or a number that is
too large. Bodies are stored as received, and parsed by these functions again when read."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from midjourney.errors import Undecodable
from midjourney.nesting import DEEPEST, is_too_deep

_BOM = b"\xef\xbb\xbf"

# A surrogate pair is a character beyond U+FFFF; JSON writers of Node and Python write half of one if a text was cut within it.
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_patient = msgspec.json.Decoder(float_hook=float)  # decodes 1e999 as infinity


def text_of(body: bytes) -> bytes:
    """The JSON of a body, without a byte-order mark."""
    return body.removeprefix(_BOM)


def parsed(body: bytes, decode: Callable[[bytes], object] | None = None) -> object:
    """Parse a body, with `decode` if given; otherwise a number that is too large becomes infinity.

    Raises the errors of `msgspec.json.decode` for invalid JSON.
    """
    text = text_of(body)
    try:
        return (decode or msgspec.json.decode)(text)
    except msgspec.DecodeError:
        return (decode or _patient.decode)(_whole(text))


def understood(body: bytes, decode: Callable[[bytes], object] | None = None) -> object:
    """Parse a body from an untrusted sender. Raises `Undecodable` if it is invalid JSON, or nested too deep."""
    try:
        return parsed(readable(body), decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not JSON: {error}", is_json=False) from error


def readable(body: bytes) -> bytes:
    """The JSON of a body, without a byte-order mark. Raises `Undecodable` if it is nested too deep."""
    if is_too_deep(body):
        raise Undecodable(f"nested deeper than {DEEPEST} levels", is_json=True)
    return text_of(body)


def container_of(value: object) -> object:
    """An object or array, even if it is encoded as JSON text; anything else unchanged."""
    if isinstance(value, str) and value.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return understood(value.encode("utf-8", "replace"))
        except Undecodable:
            return value
    return value


def _whole(text: bytes) -> bytes:
    """JSON with U+FFFD in place of each half of a surrogate pair."""
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
