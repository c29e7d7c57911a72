"""Long texts are durable before anything refers to them, and are dropped a day after their last use."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert

from midjourney.blob_texts import PIECE_BYTES, Reference
from midjourney.requests import Blend, encode_request
from storage import schema
from storage.blobs import rows
from storage.blobs.store import BlobStore
from storage.engine import Connection, Database

DAY_MS = 24 * 3_600_000
NOW_MS = 1_700_000_000_000
TEXT = b"data:image/png;base64," + b"iVBORw0KGgoA" * 40_000


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def store(
    database: Database, time: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlobStore]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = BlobStore(database, time)
    yield store
    await store.close()


async def kept(store: BlobStore, text: bytes = TEXT) -> Reference:
    """The name of a text that has been stored."""
    draft = store.draft()
    try:
        for start in range(0, len(text), 50_000):
            draft.write(text[start : start + 50_000])
        await store.keep([draft])
        return draft.reference
    finally:
        draft.discard()


async def read(store: BlobStore, reference: Reference) -> bytes:
    parts = [piece async for piece in store.pieces(reference)]
    assert all(len(part) <= PIECE_BYTES for part in parts)
    return b"".join(parts)


def submission(connection: Connection, id_: str, state: str, updated_at_ms: int, request: Blend) -> None:
    """A row of a submission that uses the blobs of its request."""
    row = {
        "id": id_,
        "idempotency_key": id_,
        "request": encode_request(request),
        "state": state,
        "updated_at_ms": updated_at_ms,
        "task_ids": "[]",
    }
    for column in schema.submissions.columns:
        if column.name not in row and not column.nullable and column.server_default is None:
            row[column.name] = "" if column.type.python_type is str else 0
    connection.execute(insert(schema.submissions), [row])
    rows.use(connection, request, id_)


def end(connection: Connection, id_: str, state: str, at_ms: int) -> None:
    connection.execute(
        schema.submissions.update()
        .where(schema.submissions.c.id == id_)
        .values(state=state, updated_at_ms=at_ms)
    )


async def test_a_text_is_read_as_it_was_written(store: BlobStore) -> None:
    """In pieces, twice, and again after it was stored a second time."""
    reference = await kept(store)
    assert await read(store, reference) == TEXT
    assert await kept(store) == reference
    assert await read(store, reference) == TEXT


async def test_a_text_that_is_not_there_is_said_to_be_missing(store: BlobStore) -> None:
    """Neither empty nor an error of the system."""
    with pytest.raises(LookupError):
        await read(store, Reference("0" * 64, 10))


async def test_a_crash_before_the_submission_leaves_a_blob_that_is_dropped(
    store: BlobStore, time: Time
) -> None:
    """Given a blob that nothing came to use, when a day has passed, then it is gone, and not before."""
    reference = await kept(store)
    time.ms += DAY_MS - 1
    assert await store.prune(time.ms) == 0
    assert await read(store, reference) == TEXT
    time.ms += 1
    assert await store.prune(time.ms) == 1
    with pytest.raises(LookupError):
        await read(store, reference)


async def test_a_blob_stays_for_a_day_after_the_end_of_what_uses_it(
    database: Database, store: BlobStore, time: Time
) -> None:
    """A submission that waits for weeks has its images; so has one that ended within a day."""
    reference = await kept(store)
    request = Blend(images=(str(reference), str(reference)))
    await database.write(
        "stage",
        partial(submission, id_="s1", state="waiting", updated_at_ms=time.ms, request=request),
    )
    time.ms += 30 * DAY_MS
    assert await store.prune(time.ms) == 1
    assert await store.prune(time.ms) == 0, "it is looked at once an hour"
    assert await read(store, reference) == TEXT
    await database.write("end", partial(end, id_="s1", state="accepted", at_ms=time.ms))
    time.ms += DAY_MS - 1
    await store.prune(time.ms)
    assert await read(store, reference) == TEXT
    time.ms += rows.LOOKED_AT_EVERY_MS
    await store.prune(time.ms)
    with pytest.raises(LookupError):
        await read(store, reference)


@pytest.mark.parametrize("state", ["sending", "uncertain"])
async def test_what_may_be_sent_again_keeps_its_blob(
    database: Database, store: BlobStore, time: Time, state: str
) -> None:
    """Nobody knows yet whether it has to be sent once more."""
    reference = await kept(store)
    request = Blend(images=(str(reference), str(reference)))
    await database.write(
        "stage", partial(submission, id_="s1", state=state, updated_at_ms=time.ms, request=request)
    )
    time.ms += 30 * DAY_MS
    await store.prune(time.ms)
    assert await read(store, reference) == TEXT


async def test_a_blob_that_two_use_stays_until_both_have_ended(
    database: Database, store: BlobStore, time: Time
) -> None:
    """Two clients send the same picture, which is stored once."""
    reference = await kept(store)
    request = Blend(images=(str(reference), str(reference)))
    for id_, state in (("s1", "accepted"), ("s2", "waiting")):
        await database.write(
            "stage", partial(submission, id_=id_, state=state, updated_at_ms=NOW_MS, request=request)
        )
    time.ms += 3 * DAY_MS
    await store.prune(time.ms)
    assert await read(store, reference) == TEXT


async def test_a_submission_cannot_use_a_blob_that_is_gone(
    database: Database, store: BlobStore, time: Time
) -> None:
    """It would be staged, and could never be sent."""
    reference = await kept(store)
    time.ms += DAY_MS
    await store.prune(time.ms)
    request = Blend(images=(str(reference), str(reference)))
    with pytest.raises(rows.BlobMissing):
        await database.write(
            "stage", partial(submission, id_="s1", state="waiting", updated_at_ms=0, request=request)
        )


async def test_a_blob_that_is_stored_again_is_not_dropped(store: BlobStore, time: Time) -> None:
    """The second one came when the first was about to be dropped."""
    reference = await kept(store)
    time.ms += DAY_MS
    await kept(store)
    assert await store.prune(time.ms) == 0
    assert await read(store, reference) == TEXT


async def test_what_a_dead_process_was_receiving_is_deleted(
    database: Database, store: BlobStore, time: Time, tmp_path: Path
) -> None:
    """The next start deletes the drafts of the dead, and leaves those of the living."""
    living = store.draft()
    living.write(b"x")
    dead = BlobStore(database, time)
    lost = dead.draft()
    lost.write(b"y")
    own, lock = dead._folder._own, dead._folder._lock
    assert own is not None
    assert lock is not None
    lock.release()  # as the system does when a process is killed
    await BlobStore(database, time).open()
    assert not own.exists()
    lost._file.close()
    await store.keep([living])
    assert await read(store, living.reference) == b"x"
    living.discard()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not use these modes")
async def test_only_the_owner_can_read_blobs(database: Database, store: BlobStore) -> None:
    """They are people's pictures."""
    await kept(store)
    draft = store.draft()
    folder = store._folder.path
    assert folder.stat().st_mode & 0o077 == 0
    assert all(one.stat().st_mode & 0o077 == 0 for one in folder.rglob("*"))
    draft.discard()


async def test_a_file_that_the_database_does_not_know_is_deleted_after_a_day(
    database: Database, store: BlobStore, time: Time
) -> None:
    """As after the database was restored from a copy."""
    if database.path is None:
        pytest.skip("PostgreSQL keeps no files")
    reference = await kept(store)
    stray = store._folder.file("f" * 64)
    stray.write_bytes(b"x")
    for file in (stray, store._folder.file(reference.sha256)):
        os.utime(file, (1, 1))
    await store.clean(time.ms)
    assert not stray.exists()
    assert await read(store, reference) == TEXT
