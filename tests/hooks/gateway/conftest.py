from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import clock
from storage.blobs.store import BlobStore
from storage.engine import Database


@pytest.fixture
async def store(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlobStore]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = BlobStore(database, clock.now_ms)
    yield store
    await store.close()
