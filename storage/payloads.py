"""Payloads as they are stored: as they were received at first, and packed when they are some minutes old (storage/events/packing.py).

What was received comes out again, byte for byte, whatever it was. Records declare the column as `Payload`: `storage/driver/decoder.py`
then unpacks it, and no reader has to know of it. Statements that copy a payload copy it as it is stored.

A packed value begins with `VERSION`; a stream of zlib follows, whose third to sixth bytes are the checksum of the dictionary. Any other
value is a payload as it was received. A payload that itself begins like a packed value is stored packed at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Annotated, NamedTuple

from storage.payload_dictionary import DICTIONARY

VERSION = b"\x81"
"""The first byte of what is packed with `DICTIONARY`; no text in UTF-8 begins with it. Another dictionary gets the next byte."""

CHECKSUM = bytes.fromhex("03030a52")
"""The checksum of the dictionary: what is stored under this version can be read with no other."""

SHORTEST = 128
"""Payloads below this many bytes stay as they are."""

LEVEL = 3
WINDOW_BITS = 13
MEMORY_LEVEL = 6
"""zlib clears its tables for each payload, which takes 50 µs with its defaults and next to nothing with these. The window holds the
dictionary and a payload of 2 kB."""


def as_received(payload: bytes) -> bytes:
    """The value that is stored for a new payload."""
    return _packed(payload) if _is_packed(payload) else payload


def packed(stored: bytes) -> bytes:
    """A smaller value for the same payload; the same value if there is none, or if it is packed already."""
    if len(stored) < SHORTEST or _is_packed(stored):
        return stored
    smaller = _packed(stored)
    return smaller if len(smaller) < len(stored) else stored


def unpacked(stored: bytes) -> bytes:
    """The payload for which a value is stored. Raises `zlib.error` if the value is damaged."""
    if not _is_packed(stored):
        return stored
    stream = zlib.decompressobj(zdict=DICTIONARY)
    payload = stream.decompress(stored[1:])
    if not stream.eof or stream.unused_data:
        raise zlib.error("a packed payload is incomplete, or something follows it")
    return payload


def _packed(payload: bytes) -> bytes:
    stream = zlib.compressobj(
        LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, DICTIONARY
    )
    return VERSION + stream.compress(payload) + stream.flush()


def _is_packed(value: bytes) -> bool:
    return value[:1] == VERSION and value[3:7] == CHECKSUM


class Stored(NamedTuple):
    """How a column is stored: `restore` makes the field's value of the stored one."""

    restore: Callable[[bytes], bytes]


Payload = Annotated[bytes, Stored(unpacked)]
"""A payload, in a record that is made from a row."""
