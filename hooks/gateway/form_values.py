"""The values of a form's parts, which arrive in pieces: a text as it is, a file as the data URL that JSON would hold.

A short value is held; a long one goes to a `Sink`, as the long strings of JSON do. Performs no I/O.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable

from midjourney.blob_texts import reference_of
from midjourney.errors import InvalidRequest
from midjourney.image_data import START_BYTES, NotAnImage, image_of_bytes
from midjourney.long_strings import LONGEST_BYTES, Sink

GROUP_BYTES = 3
"""Base64 writes each three bytes as four characters, so that pieces of a file are encoded in such groups."""


class Text:
    """A value in UTF-8. One of at most `most` bytes is held; a longer one goes to a sink, or is refused if it `must_stay`."""

    def __init__(
        self, field: str, open_sink: Callable[[], Sink], *, most: int = LONGEST_BYTES, must_stay: bool = False
    ) -> None:
        self._field = field
        self._open_sink = open_sink
        self._most = most
        self._must_stay = must_stay
        self._held = bytearray()
        self._sink: Sink | None = None
        self._characters = codecs.getincrementaldecoder("utf-8")()

    def add(self, piece: bytes) -> None:
        """Take the next piece. Raises `InvalidRequest`."""
        self._check(piece, is_last=False)
        if self._sink is not None:
            self._sink.write(piece)
            return
        self._held += piece
        if len(self._held) > self._most:
            if self._must_stay:
                raise InvalidRequest(self._field, f"has more than {self._most} bytes")
            self._sink = self._open_sink()
            self._sink.write(bytes(self._held))
            self._held.clear()

    def end(self) -> str:
        """The text, or the name of what the sink has. Raises `InvalidRequest`."""
        self._check(b"", is_last=True)
        if self._sink is not None:
            return self._sink.end()
        text = self._held.decode()
        if reference_of(text) is not None:
            raise InvalidRequest(self._field, "names a stored text of hookchain; send the image itself")
        return text

    def _check(self, piece: bytes, *, is_last: bool) -> None:
        try:
            self._characters.decode(piece, is_last)
        except UnicodeDecodeError as error:
            raise InvalidRequest(self._field, f"is not UTF-8: {error.reason}") from error


class File:
    """A file, which becomes a data URL. `has_name`: the sender gave it a name."""

    def __init__(
        self,
        field: str,
        open_sink: Callable[[], Sink],
        type_of: Callable[[str, bytes], str],
        *,
        has_name: bool,
    ) -> None:
        self._field = field
        self._has_name = has_name
        self._url = Text(field, open_sink)
        self._type_of = type_of
        self._waiting = b""
        self._is_typed = False

    def add(self, piece: bytes) -> None:
        """Take the next piece. Raises `InvalidRequest` as soon as it is of no type that is accepted."""
        data = self._waiting + piece
        if not self._is_typed and len(data) < START_BYTES:
            self._waiting = data
            return
        self._type(data)
        whole = len(data) - len(data) % GROUP_BYTES
        self._waiting = data[whole:]
        self._url.add(base64.b64encode(data[:whole]))

    def end(self) -> str | None:
        """The data URL, or what stands for it. None for no file at all: pages post an input without a file so. Raises
        `InvalidRequest`."""
        if not self._is_typed and not self._waiting and not self._has_name:
            return None
        self._type(self._waiting)
        self._url.add(base64.b64encode(self._waiting))
        return self._url.end()

    def _type(self, start: bytes) -> None:
        if not self._is_typed:
            self._is_typed = True
            self._url.add(f"data:{self._type_of(self._field, start)};base64,".encode())


def image_type(field: str, start: bytes) -> str:
    """The media type of an image, from its first bytes: many senders declare application/octet-stream. Raises `InvalidRequest`."""
    try:
        return image_of_bytes(start, what="the file").media_type
    except NotAnImage as error:
        raise InvalidRequest(field, str(error)) from error
