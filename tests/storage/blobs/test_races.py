"""What drops a blob and what stores or uses it wait for each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from midjourney.blob_texts import Reference
from midjourney.requests import Describe
from storage.blobs import rows
from storage.blobs.store import BlobStore
from storage.engine import Connection, Database, write_engine
from tests.conftest import PATIENCE_S

NOW_MS = 1_700_000_000_000
LATER_MS = NOW_MS + 2 * rows.KEPT_MS
TEXT = b"A" * 300_000


@pytest.fixture
async def store(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlobStore]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = BlobStore(database, lambda: LATER_MS)
    yield store
    await store.close()


async def kept(store: BlobStore) -> Reference:
    draft = store.draft()
    try:
        draft.write(TEXT)
        await store.keep([draft])
        return draft.reference
    finally:
        draft.discard()


async def made_old(database: Database, reference: Reference) -> None:
    """Its time is over."""

    def age(connection: Connection) -> None:
        connection.execute(
            text(f"UPDATE {_schema(connection)}blobs SET until_ms = 0 WHERE sha256 = :hash"),
            {"hash": reference.sha256},
        )

    await database.write("age", age)


def _schema(connection: Connection) -> str:
    return "" if connection.dialect.name == "sqlite" else "hookchain_data."


class Dropping:
    """A transaction of another process that has dropped what is old, and commits when it is told to."""

    def __init__(self, url: str, store: BlobStore) -> None:
        self._url, self._store = url, store
        self.has_dropped, self.may_commit = threading.Event(), threading.Event()
        self.dropped = 0

    def run(self) -> None:
        engine = write_engine(self._url)
        with engine.begin() as connection:
            self.dropped = self._store._drop_unused(connection, now_ms=LATER_MS)
            self.has_dropped.set()
            assert self.may_commit.wait(PATIENCE_S)
        engine.dispose()


async def test_a_blob_that_is_stored_while_it_is_dropped_stays(
    database: Database, database_url: str, store: BlobStore
) -> None:
    """Given a transaction that has dropped it and is about to commit, when it is stored again, then that waits, and it is there."""
    reference = await kept(store)
    await made_old(database, reference)
    dropping = Dropping(database_url, store)
    other = asyncio.create_task(asyncio.to_thread(dropping.run))
    assert await asyncio.to_thread(dropping.has_dropped.wait, PATIENCE_S)
    assert dropping.dropped == 1
    storing = asyncio.create_task(kept(store))
    done, _ = await asyncio.wait([storing], timeout=0.3)
    assert not done, "it waits for the other transaction"
    dropping.may_commit.set()
    await other
    assert await storing == reference
    assert b"".join([piece async for piece in store.pieces(reference)]) == TEXT


async def test_a_blob_that_is_used_while_it_is_dropped_is_refused(
    database: Database, database_url: str, store: BlobStore
) -> None:
    """A submission is never staged with a blob that is about to vanish."""
    reference = await kept(store)
    await made_old(database, reference)
    dropping = Dropping(database_url, store)
    other = asyncio.create_task(asyncio.to_thread(dropping.run))
    assert await asyncio.to_thread(dropping.has_dropped.wait, PATIENCE_S)
    use = partial(rows.use, request=Describe(image=str(reference)), submission_id="s1")
    using = asyncio.create_task(database.write("stage", use))
    done, _ = await asyncio.wait([using], timeout=0.3)
    assert not done, "it waits for the other transaction"
    dropping.may_commit.set()
    await other
    with pytest.raises(rows.BlobMissing):
        await using


async def test_a_blob_whose_storing_broke_off_is_missing_and_can_be_stored_again(
    database: Database, store: BlobStore
) -> None:
    """A process died when the row was there, and on PostgreSQL the first piece. Nothing refers to it, and the same text comes again."""
    draft = store.draft()
    draft.write(TEXT)
    reference = draft.reference
    await database.write("keep", partial(rows.add, references=[reference], now_ms=LATER_MS))
    if database.path is None:
        piece = TEXT[: rows.PIECE_BYTES]
        await database.write("keep", partial(rows.add_piece, reference=reference, number=0, piece=piece))
    draft.discard()
    with pytest.raises(LookupError):
        _ = [piece async for piece in store.pieces(reference)]
    assert await kept(store) == reference
    assert b"".join([piece async for piece in store.pieces(reference)]) == TEXT
