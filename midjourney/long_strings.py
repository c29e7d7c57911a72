r"""Takes the long strings out of a JSON object that comes in pieces, so that it need never be held as a whole. Performs no I/O.

What is left is short JSON with a name in the place of each long string. A long string goes piece by piece to a `Sink`, without JSON's
escapes. No library that we know streams single strings: ijson and its relatives give each string as a whole.

The scanner stops at the end of each piece between two characters: an escape that is incomplete there (`\`, `\u12`, or the first half of
a surrogate pair) waits for the next piece. As elsewhere (`bodies`), a half of a pair alone becomes U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from midjourney.blob_texts import reference_of
from midjourney.bodies import understood
from midjourney.errors import InvalidRequest, Undecodable
from midjourney.nesting import DEEPEST

LONGEST_BYTES = 8 * 1024
"""The longest string that stays in the text."""

MOST_TEXT_BYTES = 128 * 1024
"""The longest text without its long strings. Known bodies have 1 kB."""

MOST_LONG_STRINGS = 32
"""Known bodies have five, the images of a blend."""

_HEX = rb"[0-9a-fA-F]"
_PAIR = rb"\\u(?P<high>[dD][89abAB]%b{2})\\u(?P<low>[dD][c-fC-F]%b{2})" % (_HEX, _HEX)
_ONE = rb"\\u(?P<code>%b{4})|\\(?P<plain>[\"\\/bfnrt])|(?P<wrong>\\)" % _HEX
_WAITS = rb"(?P<waits>\\(?:u(?:%b{0,3}|[dD][89abAB]%b{2}(?:\\(?:u(?:[dD](?:[c-fC-F]%b?)?)?)?)?))?\Z)" % (
    (_HEX,) * 3
)
_LAST = re.compile(_PAIR + b"|" + _ONE)
_PART = re.compile(_PAIR + b"|" + _WAITS + b"|" + _ONE)
_PLAIN = {
    b'"': b'"',
    b"\\": b"\\",
    b"/": b"/",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_TO_THE_QUOTE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRUCTURE = re.compile(rb"[{}\[\],:]")
_CONTROLS = bytes(range(32))


class Sink(Protocol):
    """Takes one long string."""

    def write(self, text: bytes) -> None:
        """Take the next part, in UTF-8, which may end within a character."""
        ...

    def end(self) -> str:
        """The name that stands for the string."""
        ...


class LongStrings:
    """Reads the pieces of one JSON object. `open_sink` is called for each long string.

    `texts`: fields of the object itself that stay in the text, and how many bytes they may have. They are longer than others for
    good reason, and are read here: a prompt, a client's state.

    Each method raises `InvalidRequest` with the field that is wrong, or "body".
    """

    def __init__(self, open_sink: Callable[[], Sink], texts: Mapping[str, int]) -> None:
        self._open_sink = open_sink
        self._texts = texts
        self._text = bytearray()
        self._rest = b""
        """What waits for the next piece: the beginning of an escape."""
        self._is_inside = False
        self._string = bytearray()
        self._sink: Sink | None = None
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._path: list[str | int] = []
        """For each open container the name or the number of the entry that is being read."""
        self._is_key = False
        self._long_strings = 0

    def feed(self, piece: bytes) -> None:
        """Read the next piece."""
        data, self._rest = self._rest + piece, b""
        at = 0
        while at < len(data):
            at = self._through_string(data, at) if self._is_inside else self._to_string(data, at)

    def end(self) -> dict[str, object]:
        """The object, with a name in place of each long string."""
        if self._is_inside:
            raise InvalidRequest(self._field, "the body ends within this string")
        try:
            value = understood(bytes(self._text))
        except Undecodable as error:
            raise InvalidRequest("body", error.reason) from error
        if not isinstance(value, dict):
            raise InvalidRequest("body", "must be a JSON object")
        return value

    @property
    def _field(self) -> str:
        names = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in self._path]
        return "".join(names).lstrip(".")[:200] or "body"

    # Between strings.

    def _to_string(self, data: bytes, at: int) -> int:
        quote = data.find(b'"', at)
        end = len(data) if quote < 0 else quote
        between = data[at:end]
        self._add(between)
        for found in _STRUCTURE.finditer(between):
            self._follow(found[0])
        if quote < 0:
            return end
        self._is_inside = True
        return quote + 1

    def _follow(self, mark: bytes) -> None:
        path = self._path
        if mark in b"{[":
            path.append("" if mark == b"{" else 0)
            self._is_key = mark == b"{"
            if len(path) > DEEPEST:
                raise InvalidRequest("body", f"nested deeper than {DEEPEST} levels")
        elif mark in b"}]":
            if path:
                path.pop()
            self._is_key = False
        elif mark == b":":
            self._is_key = False
        elif path:
            last = path[-1]
            self._is_key = isinstance(last, str)
            path[-1] = "" if isinstance(last, str) else last + 1

    def _add(self, text: bytes) -> None:
        self._text += text
        if len(self._text) > MOST_TEXT_BYTES:
            raise InvalidRequest(
                "body", f"has more than {MOST_TEXT_BYTES} bytes beside its long strings: the images"
            )

    # Within a string.

    def _through_string(self, data: bytes, at: int) -> int:
        end = _end_of(data, at)
        is_whole = data[end : end + 1] == b'"'
        raw = data[at:end] if is_whole else data[at:]
        if len(raw.translate(None, _CONTROLS)) != len(raw):
            raise InvalidRequest(self._field, "a control character in a string must be escaped")
        self._take(self._decoded(raw, is_whole))
        if not is_whole:
            return len(data)
        self._close()
        return end + 1

    def _decoded(self, raw: bytes, is_whole: bool) -> bytes:
        if b"\\" not in raw:
            return raw
        return (_LAST if is_whole else _PART).sub(self._character, raw)

    def _character(self, found: re.Match[bytes]) -> bytes:
        kind = found.lastgroup
        if kind == "plain":
            return _PLAIN[found["plain"]]
        if kind == "waits":
            self._rest = found[0]
            return b""
        if kind == "low":
            high, low = int(found["high"], 16), int(found["low"], 16)
            return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).encode()
        if kind == "code":
            code = int(found["code"], 16)
            return chr(0xFFFD if 0xD800 <= code < 0xE000 else code).encode()
        raise InvalidRequest(self._field, "an escape in a string is not valid JSON")

    def _take(self, text: bytes) -> None:
        if self._sink is None:
            self._string += text
            if len(self._string) <= self._most:
                return
            text = self._spill()
        self._check_characters(text, is_last=False)
        assert self._sink is not None
        self._sink.write(text)

    @property
    def _most(self) -> int:
        if len(self._path) == 1 and not self._is_key:
            return self._texts.get(str(self._path[0]), LONGEST_BYTES)
        return LONGEST_BYTES

    def _spill(self) -> bytes:
        """Turn the string that is being read into a long one. Returns what there is of it."""
        if self._is_key:
            raise InvalidRequest(self._field, f"a name has more than {LONGEST_BYTES} bytes")
        if len(self._path) == 1 and str(self._path[0]) in self._texts:
            raise InvalidRequest(self._field, f"has more than {self._most} bytes")
        self._long_strings += 1
        if self._long_strings > MOST_LONG_STRINGS:
            raise InvalidRequest(self._field, f"a body may have {MOST_LONG_STRINGS} long strings")
        self._sink = self._open_sink()
        self._characters.reset()
        text, self._string = bytes(self._string), bytearray()
        return text

    def _check_characters(self, text: bytes, *, is_last: bool) -> str:
        try:
            return self._characters.decode(text, is_last)
        except UnicodeDecodeError as error:
            raise InvalidRequest(self._field, f"is not UTF-8: {error.reason}") from error

    def _close(self) -> None:
        """End the string, and write it, or its name, into the text."""
        self._is_inside = False
        if self._sink is not None:
            self._check_characters(b"", is_last=True)
            sink, self._sink = self._sink, None
            self._add(msgspec.json.encode(sink.end()))
            return
        self._characters.reset()
        text = self._check_characters(bytes(self._string), is_last=True)
        self._string = bytearray()
        if reference_of(text) is not None:
            raise InvalidRequest(self._field, "names a stored text of hookchain; send the image itself")
        if self._is_key and self._path:
            self._path[-1] = text
        self._add(msgspec.json.encode(text))


def _end_of(data: bytes, at: int) -> int:
    """Where a string ends: at its closing quote, before an incomplete escape, or with the data."""
    quote = data.find(b'"', at)
    slash = data.find(b"\\", at, quote if quote >= 0 else len(data))
    if slash < 0:
        return quote if quote >= 0 else len(data)
    found = _TO_THE_QUOTE.match(data, slash)
    assert found is not None, "the expression matches nothing at all, too"
    return found.end()
