"""Stores blobs, reads them piece by piece, and drops those that nothing uses. At most 256 kB of a blob are held at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from midjourney.blob_texts import PIECE_BYTES, Reference
from storage.blobs import rows
from storage.blobs.files import Draft, Folder
from storage.clock import Clock
from storage.engine import Connection, Database

DROPPED_AT_ONCE = 20


class BlobStore:
    """The blobs of one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._folder = Folder(database.path)
        self._has_files = database.path is not None

    async def open(self) -> None:
        """Delete what dead processes were receiving."""
        await asyncio.to_thread(self._folder.clean)

    async def close(self) -> None:
        """Delete what this process was receiving."""
        await asyncio.to_thread(self._folder.close)

    def draft(self) -> Draft:
        """A new text to write to. Discard it in the end, in any case."""
        return self._folder.draft()

    async def keep(self, drafts: Sequence[Draft]) -> None:
        """Store texts. When this returns they are durable, and a submission may refer to them for a day.

        It is done each time, even for a blob that seems to be there: it may be about to be dropped. Raises `NotDurable`.
        """
        if not drafts:
            return
        references, now_ms = [one.reference for one in drafts], self._clock()
        await self._database.write("keep_blobs", partial(rows.add, references=references, now_ms=now_ms))
        for draft in drafts:
            if self._has_files:
                await asyncio.to_thread(draft.place, self._folder.file(draft.reference.sha256))
            else:
                await self._keep_pieces(draft)

    async def release(self, references: Sequence[Reference]) -> None:
        """Drop texts that were stored for an order which was refused, unless something else uses them."""
        if references:
            now_ms = self._clock()
            await self._database.write(
                "release_blobs", partial(rows.release, references=references, now_ms=now_ms)
            )
            await self.prune(now_ms)

    async def _keep_pieces(self, draft: Draft) -> None:
        pieces, number = draft.pieces(rows.PIECE_BYTES), 0
        while piece := await asyncio.to_thread(next, pieces, b""):
            work = partial(rows.add_piece, reference=draft.reference, number=number, piece=piece)
            await self._database.write("keep_blob_piece", work)
            number += 1

    async def pieces(self, reference: Reference) -> AsyncGenerator[bytes]:
        """The pieces of a blob. Raises `LookupError` if it is not there, and `NotDurable` or `OSError`."""
        if self._has_files:
            try:
                file = await asyncio.to_thread(_opened, self._folder.file(reference.sha256))
            except FileNotFoundError as error:
                raise LookupError(f"there is no {reference}") from error
            try:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    yield piece
            finally:
                file.close()
            return
        for number in range(-(-reference.size // rows.PIECE_BYTES)):
            query = partial(rows.piece, reference=reference, number=number)
            stored = await self._database.read(query)
            if stored is None:
                raise LookupError(f"there is no {reference}")
            for start in range(0, len(stored), PIECE_BYTES):
                yield stored[start : start + PIECE_BYTES]

    async def prune(self, now_ms: int) -> int:
        """Look at some blobs whose time is over, and drop those that nothing uses; returns how many were looked at."""
        return await self._database.write("prune", partial(self._drop_unused, now_ms=now_ms))

    async def clean(self, now_ms: int) -> None:
        """Delete what dead processes were receiving, and files that the database does not know, as after a restored copy."""
        await asyncio.to_thread(self._folder.clean)
        if not self._has_files:
            return
        old = await asyncio.to_thread(self._folder.older, (now_ms - rows.KEPT_MS) / 1000)
        for start in range(0, len(old), DROPPED_AT_ONCE):
            await self._database.write(
                "prune", partial(self._drop_unknown, names=old[start : start + DROPPED_AT_ONCE])
            )

    def _drop_unused(self, connection: Connection, now_ms: int) -> int:
        return rows.drop_unused(connection, now_ms, DROPPED_AT_ONCE, self._remove)

    def _drop_unknown(self, connection: Connection, names: Sequence[str]) -> None:
        for name in set(names) - rows.known(connection, names):
            self._folder.remove(name)

    def _remove(self, sha256: str) -> None:
        if self._has_files:
            self._folder.remove(sha256)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)
