"""Reads the body of an order without holding it: long strings go to files as they arrive, and what is left is small.

    spool = Spool(blob_store, submit_limit_bytes=…, spool_limit_bytes=…)      one for the process
    async with spool.spooled(scope, receive, form=…) as body:                  raises BadBody
        body.fields      the JSON object; a string of more than 8 kB is "blob:sha256:<hash>:<bytes>"
        body.digest      equal for equal bodies, however they are written or ordered
        body.blobs       what the fields refer to
        await body.keep()                                                      raises NotDurable

`keep` makes the blobs durable: await it before the transaction that stages the submission, in which `storage.blobs.rows.use` ties
them to it. What was not kept is deleted when the block ends, so that orders that are refused leave nothing.

A multipart form becomes the same as JSON with the same content (`forms`), and has the same digest, whatever its boundary.

A client cannot name a blob itself: a string that looks like a name is refused. Fields in `TEXTS` stay text, whatever their length.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from hooks.gateway.form_fields import FormFields
from hooks.gateway.forms import Form, boundary_of
from midjourney.blob_texts import Reference
from midjourney.errors import InvalidRequest
from midjourney.long_strings import LongStrings
from storage.blobs.files import Draft
from storage.blobs.store import BlobStore

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

SUBMIT_LIMIT_BYTES = 64 * 1024 * 1024
"""A blend of five pictures of 8 MB in base64 has 54 MB."""

SPOOL_LIMIT_BYTES = 512 * 1024 * 1024
"""All bodies that are being received or handled."""

STALLED_S = 10.0
"""Seconds without a byte after which a body is given up, as callbacks are."""

WHOLE_WITHIN_S = 300.0
"""Seconds for a whole body: 64 MB at 1.7 Mbit/s. One that sends a byte a second only takes up room."""

RETRY_AFTER_S = 5

IN_A_THREAD_BYTES = 16 * 1024
"""A longer piece is read in a thread: it goes to a disk, which may be slow."""

TEXTS = {"state": 64 * 1024, "prompt": 32 * 1024, "notifyHook": 16 * 1024}
"""Fields that are read here, and how many bytes they may have. 6,000 characters of a prompt in Chinese have 18 kB."""


class BadBody(Exception):
    """A body that is refused: with an HTTP status, a text for people, and headers of the answer."""

    def __init__(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.headers = {"connection": "close"} if headers is None else dict(headers)


class Reader(Protocol):
    """Reads one body. Each method raises `InvalidRequest`."""

    def feed(self, piece: bytes) -> None:
        """Read the next piece."""
        ...

    def end(self) -> dict[str, object]:
        """The fields, when all of it has been read."""
        ...


class SpooledBody:
    """A body that has been received."""

    def __init__(self, fields: Mapping[str, object], drafts: list[Draft], store: BlobStore) -> None:
        self.fields = fields
        self.digest = hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
        self._drafts = {one.reference: one for one in drafts}
        self._is_kept = False
        self._store = store

    @property
    def blobs(self) -> list[Reference]:
        """The blobs of the body, each once."""
        return list(self._drafts)

    async def keep(self) -> None:
        """Store the blobs. When this returns they are durable. Raises `NotDurable`, and `OSError` if the disk is full."""
        if not self._is_kept:
            await self._store.keep(list(self._drafts.values()))
            self._is_kept = True

    async def release(self) -> None:
        """Drop the blobs that were kept, unless something uses them: the order was refused. Raises `NotDurable`."""
        if self._is_kept:
            await self._store.release(self.blobs)


class Spool:
    """Receives bodies within limits of size, time, and room for all of them."""

    def __init__(
        self,
        store: BlobStore,
        *,
        submit_limit_bytes: int = SUBMIT_LIMIT_BYTES,
        spool_limit_bytes: int = SPOOL_LIMIT_BYTES,
        stalled_s: float = STALLED_S,
        whole_within_s: float = WHOLE_WITHIN_S,
    ) -> None:
        self._store = store
        self._submit_limit = submit_limit_bytes
        self._spool_limit = spool_limit_bytes
        self._stalled_s = stalled_s
        self._whole_within_s = whole_within_s
        self.in_flight_bytes = 0
        self._by_owner: Counter[str] = Counter()

    @asynccontextmanager
    async def spooled(
        self, scope: Scope, receive: Receive, owner: str = "", form: FormFields | None = None
    ) -> AsyncIterator[SpooledBody]:
        """The body of a request, while the block runs: JSON, or what `form` takes. One `owner` may take half of the room. Raises
        `BadBody`."""
        drafts: list[Draft] = []
        taken = _Taken(self, owner)

        def draft() -> Draft:
            drafts.append(self._store.draft())
            return drafts[-1]

        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            declared = self._declared(headers)
            reader = _reader(headers, form, draft)
            taken.up_to(declared)
            fields = await self._fields(receive, taken, reader)
            yield SpooledBody(fields, drafts, self._store)
        finally:
            taken.give_back()
            for one in drafts:
                one.discard()

    def _declared(self, headers: Mapping[bytes, bytes]) -> int:
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise BadBody(415, "a body must not be compressed")
        given = headers.get(b"content-length", b"")
        declared = int(given) if given.isdigit() and len(given) < 19 else 0
        self._check_size(declared)
        return declared

    def _check_size(self, size: int) -> None:
        if size > self._submit_limit:
            raise BadBody(413, f"a body may have at most {self._submit_limit} bytes")

    async def _fields(self, receive: Receive, taken: _Taken, reader: Reader) -> Mapping[str, object]:
        size = 0
        try:
            async with asyncio.timeout(self._whole_within_s):
                more = True
                while more:
                    async with asyncio.timeout(self._stalled_s):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        raise BadBody(400, "the body is not complete")
                    piece = message.get("body", b"")
                    more = message.get("more_body", False)
                    size += len(piece)
                    self._check_size(size)
                    taken.up_to(size)
                    await _read(reader, piece)
        except TimeoutError as error:
            raise BadBody(408, f"the body did not arrive completely: {size} bytes came") from error
        except InvalidRequest as error:
            raise BadBody(400, str(error)) from error
        except OSError as error:
            headers = {"retry-after": str(RETRY_AFTER_S), "connection": "close"}
            raise BadBody(503, f"the body cannot be stored: {error.strerror}", headers) from error
        try:
            return reader.end() if size else {}
        except InvalidRequest as error:
            raise BadBody(400, str(error), {}) from error

    def take(self, size: int, owner: str) -> None:
        """Take room for so many bytes. Raises `BadBody` if there is not enough."""
        share = max(self._submit_limit, self._spool_limit // 2)
        if self.in_flight_bytes + size > self._spool_limit or self._by_owner[owner] + size > share:
            headers = {"retry-after": str(RETRY_AFTER_S), "connection": "close"}
            raise BadBody(503, "too many large bodies are being received: try again", headers)
        self.in_flight_bytes += size
        self._by_owner[owner] += size

    def give_back(self, size: int, owner: str) -> None:
        """Give room back."""
        self.in_flight_bytes -= size
        self._by_owner[owner] -= size
        if not self._by_owner[owner]:
            del self._by_owner[owner]


class _Taken:
    """The room that one body takes."""

    def __init__(self, spool: Spool, owner: str) -> None:
        self._spool = spool
        self._owner = owner
        self._size = 0

    def up_to(self, size: int) -> None:
        """Take more, if so many bytes have not been taken yet."""
        if size > self._size:
            self._spool.take(size - self._size, self._owner)
            self._size = size

    def give_back(self) -> None:
        """Take nothing any more."""
        self._spool.give_back(self._size, self._owner)
        self._size = 0


def _reader(headers: Mapping[bytes, bytes], form: FormFields | None, draft: Callable[[], Draft]) -> Reader:
    """What reads a body, by its type: known clients declare their JSON as anything but a form."""
    content_type = headers.get(b"content-type", b"").strip()
    if not content_type.lower().startswith(b"multipart/"):
        return LongStrings(draft, TEXTS)
    if form is None:
        raise BadBody(415, "a body must be JSON")
    try:
        boundary = boundary_of(content_type)
        if boundary is None:
            raise BadBody(415, "a body must be JSON or multipart/form-data")
        return Form(boundary, form, draft, TEXTS)
    except InvalidRequest as error:
        raise BadBody(400, str(error)) from error


async def _read(reader: Reader, piece: bytes) -> None:
    if len(piece) < IN_A_THREAD_BYTES:
        reader.feed(piece)
        return
    reading = asyncio.get_running_loop().run_in_executor(None, reader.feed, piece)
    try:
        await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])  # it writes to files that are about to be deleted
        if not reading.cancelled():
            reading.exception()
        raise
