"""Reads the body of a client's request: large texts go to blobs as they arrive."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dispatcher.tickets.answers import FAILED, REFUSED
from hooks.gateway.answering import Refused
from hooks.gateway.form_fields import form_of
from hooks.gateway.spool import BadBody, Spool, SpooledBody
from storage.blobs.store import BlobStore

if TYPE_CHECKING:
    from starlette.types import Receive, Scope


class Body:
    """The fields of a body, and a digest that equal bodies for the same path share."""

    def __init__(self, spooled: SpooledBody, path: str) -> None:
        self._spooled = spooled
        self.fields: Mapping[str, object] = spooled.fields
        self.digest = hashlib.sha256(f"{path} {spooled.digest}".encode()).hexdigest()

    async def keep(self) -> None:
        """Make its large texts durable: before the order is stored that refers to them. Raises `NotDurable`."""
        await self._spooled.keep()

    async def release(self) -> None:
        """Drop its large texts, unless something uses them: nothing was ordered. Raises `NotDurable`."""
        await self._spooled.release()


class Bodies:
    """Reads bodies within limits of size, time and room."""

    def __init__(self, store: BlobStore, *, limit_bytes: int, together_bytes: int) -> None:
        self._store = store
        self._spool = Spool(store, submit_limit_bytes=limit_bytes, spool_limit_bytes=together_bytes)

    async def close(self) -> None:
        """Close the store of large texts."""
        await self._store.close()

    @asynccontextmanager
    async def of(self, scope: Scope, receive: Receive, path: str, client: str) -> AsyncIterator[Body]:
        """The body of a client's request, while the block runs. Raises `Refused`."""
        try:
            async with self._spool.spooled(scope, receive, client, form_of(path)) as spooled:
                yield Body(spooled, path)
        except BadBody as error:
            headers = list(error.headers.items())
            # What is wrong in a field is for people, and many clients show them only what comes with a 200.
            names_a_field = error.status == 400 and not error.problem.startswith(("body", "the body"))
            status = 200 if names_a_field else error.status
            code = FAILED if status == 503 else REFUSED
            raise Refused(status, code, error.problem, headers=headers) from error
