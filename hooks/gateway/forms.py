"""Reads a multipart form in pieces, without holding it: what becomes of it is the same as of an order in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hooks.gateway.form_fields import VIDEO, FormFields, fields_of_form
from hooks.gateway.form_values import File, Text, image_type
from midjourney.errors import InvalidRequest
from midjourney.long_strings import LONGEST_BYTES, MOST_LONG_STRINGS, MOST_TEXT_BYTES, Sink
from midjourney.videos import video_type

MOST_PARTS = 100
"""Known forms have five parts, and a blend of five pictures has eight."""

LONGEST_NAME = 100
"""Characters of a field's name. Known ones have 13."""

_UTF8 = (b"utf-8", b"utf8", b"us-ascii")
_NOT_ENCODED = (b"", b"7bit", b"8bit", b"binary")


class Form:
    """Reads the pieces of one form. `open_sink` is called for each long value; `texts` are fields that stay in the text, and how many
    bytes they may have, as for `LongStrings`.

    Each method raises `InvalidRequest` with the field that is wrong, or "body".
    """

    def __init__(
        self, boundary: bytes, form: FormFields, open_sink: Callable[[], Sink], texts: Mapping[str, int]
    ) -> None:
        self._form = form
        self._sinks = open_sink
        self._texts = texts
        self._long_values = 0
        self._parts = 0
        self._bytes = 0
        self._fields: dict[str, list[str]] = {}
        self._has_ended = False
        self._header, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field = ""
        self._value: Text | File | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_piece,
                    "on_header_value": self._value_piece,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._piece,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest("body", f"is not a form: {error}") from error

    def feed(self, piece: bytes) -> None:
        """Read the next piece."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise InvalidRequest("body", f"is not a form: {error}") from error

    def end(self) -> dict[str, object]:
        """The fields, with a name in place of each long value."""
        if not self._has_ended:
            raise InvalidRequest("body", "the form is cut off: its last boundary is missing")
        return fields_of_form(self._fields)

    # What the parser calls.

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidRequest("body", f"a form may have {MOST_PARTS} parts")
        self._headers = {}
        self._header, self._header_value = bytearray(), bytearray()

    def _header_piece(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _value_piece(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._header_value).strip()
        self._header, self._header_value = bytearray(), bytearray()

    def _open(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or not options.get(b"name"):
            raise InvalidRequest("body", "a part has no name")
        name = _name(options[b"name"])
        if self._headers.get(b"content-transfer-encoding", b"").lower() not in _NOT_ENCODED:
            raise InvalidRequest(name, "send it as it is, without a Content-Transfer-Encoding")
        # The library drops the second name, which some clients write alone.
        has_long_name = b"filename*=" in self._headers.get(b"content-disposition", b"").lower()
        if b"filename" in options or has_long_name:
            self._field = self._form.file(name)
            type_of = video_type if self._field == VIDEO else image_type
            has_name = has_long_name or bool(options[b"filename"])
            self._value = File(name, self._sink, type_of, has_name=has_name)
        else:
            _, described = parse_options_header(self._headers.get(b"content-type"))
            if described.get(b"charset", b"utf-8").lower() not in _UTF8:
                raise InvalidRequest(name, "send texts in UTF-8")
            self._field = self._form.text(name)
            most = self._texts.get(self._field)
            self._value = Text(name, self._sink, most=most or LONGEST_BYTES, must_stay=most is not None)

    def _piece(self, data: bytes, start: int, end: int) -> None:
        assert self._value is not None, "headers come before what they are about"
        self._value.add(data[start:end])

    def _close(self) -> None:
        assert self._value is not None, "a part that ends has begun"
        value, self._value = self._value.end(), None
        if value is None:
            return
        self._bytes += len(self._field) + len(value.encode())
        if self._bytes > MOST_TEXT_BYTES:
            raise InvalidRequest("body", f"has more than {MOST_TEXT_BYTES} bytes without its long values")
        self._fields.setdefault(self._field, []).append(value)

    def _end(self) -> None:
        self._has_ended = True

    def _sink(self) -> Sink:
        self._long_values += 1
        if self._long_values > MOST_LONG_STRINGS:
            raise InvalidRequest("body", f"a form may have {MOST_LONG_STRINGS} long values")
        return self._sinks()


def boundary_of(content_type: bytes) -> bytes | None:
    """The boundary of a form; None if the body is something else. Raises `InvalidRequest` for a form without one."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest("body", "is a form whose Content-Type names no boundary")
    return boundary


def _name(written: bytes) -> str:
    try:
        name = written.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("body", "the name of a part is not UTF-8") from error
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidRequest("body", f"the name of a part is not printable, or longer than {LONGEST_NAME}")
    return name
