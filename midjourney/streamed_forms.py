"""A multipart form that is sent: its fields as texts, and data URLs as files where the vendor takes files. Performs no I/O itself."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping

from midjourney.blob_texts import Blobs, Examined, Reference, blob_in
from midjourney.errors import InvalidRequest
from midjourney.streamed import Part, StreamedBody


def form_body(
    fields: Mapping[str, object],
    files: Collection[str],
    examined: Mapping[Reference, Examined],
    blobs: Blobs | None,
) -> StreamedBody:
    """The form with these fields; those in `files` are data URLs, and become files. Only the blobs that were `examined` are put in.

    Objects and lists are written as ASP.NET binds them: `accountFilter.modes[0]`. Raises `InvalidRequest` for a file that is no
    data URL.
    """
    boundary = f"hookchain-{secrets.token_hex(16)}"
    parts: list[bytes | Part] = []
    for name, value in fields.items():
        for path, text in _texts(name, value):
            if name in files:
                head, content = _file(path, text, examined)
            else:
                head, content = _head(path), _text(text, examined)
            for part in (f"--{boundary}\r\n{head}\r\n\r\n".encode(), *content, b"\r\n"):
                _add(parts, part)
    _add(parts, f"--{boundary}--\r\n".encode())
    return StreamedBody(parts, blobs or _NoBlobs(), f"multipart/form-data; boundary={boundary}")


class _NoBlobs:
    """The blobs of a form that has none."""

    def pieces(self, reference: Reference) -> AsyncGenerator[bytes]:
        raise LookupError(f"there is no {reference}")


def _add(parts: list[bytes | Part], part: bytes | Part) -> None:
    last = parts[-1] if parts else None
    if isinstance(part, bytes) and isinstance(last, bytes):
        parts[-1] = last + part
    else:
        parts.append(part)


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """The texts in a value, each with the name that it has in a form."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _texts(f"{name}.{key}", inside)
    elif isinstance(value, list | tuple):
        for number, inside in enumerate(value):
            yield from _texts(f"{name}[{number}]", inside)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _head(name: str, more: str = "") -> str:
    # As browsers write names, so that none can end its quotes or the line (HTML, "multipart/form-data encoding algorithm").
    written = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return f'Content-Disposition: form-data; name="{written}"{more}'


def _text(text: str, examined: Mapping[Reference, Examined]) -> list[bytes | Part]:
    if (reference := blob_in(text)) is not None and reference in examined:
        before = text.removesuffix(str(reference)).encode()
        return [before, Part(reference, _as_stored, reference.size)]
    return [text.encode("utf-8", "surrogatepass")]


def _file(name: str, text: str, examined: Mapping[Reference, Examined]) -> tuple[str, list[bytes | Part]]:
    reference = blob_in(text)
    content: bytes | Part
    if reference is not None and reference in examined:
        seen = examined[reference]
        start = seen.start.decode("utf-8", "replace")
        content = Part(reference, _decoded, seen.decoded_bytes)
    else:
        start, content = text, _bytes(name, text)
    media_type = start.partition(",")[0].removeprefix("data:").removesuffix(";base64")
    extension = media_type.partition("/")[2].partition(";")[0]
    return _head(name, f'; filename="file.{extension}"') + f"\r\nContent-Type: {media_type}", [content]


def _bytes(name: str, url: str) -> bytes:
    packed = url.partition(",")[2].rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(name, "is not a data URL in base64") from error


async def _as_stored(stored: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async for piece in stored:
        yield piece


async def _decoded(stored: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The bytes behind the comma of a data URL."""
    waiting, is_behind_comma = b"", False
    async for piece in stored:
        waiting += piece
        if not is_behind_comma:
            head, comma, waiting = waiting.partition(b",")
            is_behind_comma = bool(comma)
            waiting = waiting if comma else head
            if not comma:
                continue
        waiting = waiting.rstrip(b"=")
        whole = len(waiting) - len(waiting) % 4
        yield base64.b64decode(waiting[:whole], validate=True)
        waiting = waiting[whole:]
    yield base64.b64decode(waiting + b"=" * (-len(waiting) % 4), validate=True)
