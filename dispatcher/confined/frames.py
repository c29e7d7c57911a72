"""The messages between a confined process and its keeper, each with its length in front; and how an answer ended."""

from __future__ import annotations

from typing import IO

ANSWERED, REFUSED, NO_MEMORY = b"+", b"-", b"!"
LENGTH_BYTES = 8


class Refused(Exception):
    """The question has no answer, and never will; the message says why."""


def framed(body: bytes) -> bytes:
    """A message with its length in front."""
    return len(body).to_bytes(LENGTH_BYTES) + body


def read(incoming: IO[bytes], largest: int) -> bytes:
    """Read the next message. Raises `EOFError` if there is none, or if it is longer than `largest`."""
    length = int.from_bytes(_exactly(incoming, LENGTH_BYTES))
    if length > largest:
        raise EOFError(f"a message of {length} bytes is too long")
    return _exactly(incoming, length)


def _exactly(incoming: IO[bytes], length: int) -> bytes:
    body = incoming.read(length)
    if len(body) < length:
        raise EOFError("the other process has ended")
    return body
