"""How a copy that was put back is told from the database that ran last, and what is found out about it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.engine import Connection, Database
from storage.records import Staged
from storage.submissions import request_count, staging
from storage.submissions.request_count import Count, Generation, GenerationFile
from storage.upstreams import pausing, restores, standings

NOW = 1_700_000_000_000


def staged(key: str = "main|imagine|x|0") -> Staged:
    return Staged(
        idempotency_key=key,
        chain_id="",
        upstream="main",
        kind="imagine",
        label="imagine",
        request=b'{"kind":"imagine","prompt":"a cat"}',
        parent_id="",
        depth=0,
        asked_by="test",
    )


def stage(connection: Connection) -> Any:
    return staging.stage(connection, staged(), refuse=lambda _use, _staged: "", now_ms=NOW)


def compared(connection: Connection, beside: Generation | None) -> Generation:
    return restores.compare(connection, beside, ["main"], NOW)


async def doubted(database: Database) -> tuple[bool, int | None]:
    """Whether the upstream is paused, and how many requests are missing."""

    def ask(connection: Connection) -> tuple[bool, int | None]:
        doubt = restores.find(connection, "main")
        standing = standings.every(connection).get("main")
        return standing is not None and standing.paused, None if doubt is None else doubt.missing

    return await database.read(ask)


async def test_a_new_database_begins_to_count(database: Database) -> None:
    """So does one of a release that did not: no file is beside it, and that is no sign."""
    await database.write("stage", stage)
    made = await database.write("compare", partial(compared, beside=None))
    assert made.number == 0
    assert await doubted(database) == (False, None)


@pytest.mark.parametrize(
    ("begun", "undone", "missing"), [(7, 0, 5), (7, 3, 2), (2, 0, None), (1, 0, None)], ids=str
)
async def test_the_file_beside_it_says_more(
    database: Database, begun: int, undone: int, missing: int | None
) -> None:
    """The database knows of two requests. A file that says as much or less, after a power cut, means nothing."""
    await database.write("stage", stage)
    await database.write("compare", partial(compared, beside=None))
    known = await database.write("sent", partial(request_count.add, upstream="main", begun=2))
    assert known is not None
    beside = Generation(lineage=known.lineage, counts={"main": Count(begun=begun, undone=undone)})
    agreed = await database.write("compare", partial(compared, beside=beside))
    assert agreed.counts["main"].begun == max(2, begun)
    assert await doubted(database) == (missing is not None, missing)
    await database.write("compare", partial(compared, beside=agreed))
    assert await doubted(database) == (missing is not None, missing), "the next start goes on with it"


@pytest.mark.parametrize("beside", [None, Generation(lineage="another")], ids=["no file", "another's file"])
async def test_a_database_that_came_from_elsewhere_is_asked_about(
    database: Database, beside: Generation | None
) -> None:
    """How much it lacks, nobody knows."""
    await database.write("stage", stage)
    await database.write("compare", partial(compared, beside=None))
    await database.write("compare", partial(compared, beside=beside))
    assert await doubted(database) == (True, None)


async def test_an_empty_database_beside_a_file_that_was_kept_is_new(database: Database) -> None:
    """The database was lost: the history of the upstream is learned, as for each new one."""
    beside = Generation(lineage="lost", counts={"main": Count(begun=9)})
    agreed = await database.write("compare", partial(compared, beside=beside))
    assert agreed.lineage != "lost"
    assert await doubted(database) == (False, None)


async def test_a_copy_of_an_older_release_beside_the_file_of_this_one(database: Database) -> None:
    """All that was counted is missing."""
    await database.write("stage", stage)
    beside = Generation(lineage="kept", counts={"main": Count(begun=9, undone=2)})
    assert await database.write("compare", partial(compared, beside=beside)) == beside
    assert await doubted(database) == (True, 7)


async def test_an_upstream_that_a_person_paused_stays_so(database: Database) -> None:
    """All is found, and it is not resumed: that is the person's to say."""
    await database.write("stage", stage)
    await database.write("pause", partial(standings.pause, upstream="main", now_ms=NOW))
    await database.write("doubt", partial(restores.start_check, upstream="main", missing=0, now_ms=NOW))
    looked = await database.write(
        "look",
        partial(
            restores.examine,
            upstream="main",
            listed=[],
            marked=[],
            answers=[],
            is_list=True,
            settled_ms=0,
            now_ms=NOW,
        ),
    )
    assert (looked.remaining, looked.resumed) == (None, False)
    assert await doubted(database) == (True, None)


async def test_the_same_intent_has_the_same_id_in_a_copy(database: Database) -> None:
    """Staged, forgotten, staged again: its mark is the one that its task bears. Another upstream's differs."""

    def ids(connection: Connection, savepoint: bool) -> str:
        if not savepoint:
            return str(stage(connection).submission_id)
        inner = connection.begin_nested()
        made = stage(connection).submission_id
        inner.rollback()
        return str(made)

    await database.write("secret", lambda connection: stage_another(connection))
    first = await database.write("stage", partial(ids, savepoint=True))
    assert await database.write("stage", partial(ids, savepoint=False)) == first


def stage_another(connection: Connection) -> None:
    staging.stage(connection, staged("main|imagine|y|0"), refuse=lambda _use, _staged: "", now_ms=NOW)


def test_the_file_is_written_whole_and_never_backwards(tmp_path: Path) -> None:
    """Claims end in another order than they began."""
    file = GenerationFile(tmp_path / "hookchain.db")
    assert file.read() is None
    newer = Generation(lineage="a", counts={"main": Count(begun=3)})
    file.write(newer)
    file.write(Generation(lineage="a", counts={"main": Count(begun=2)}))
    assert file.read() == newer
    assert file.path.stat().st_mode & 0o777 == 0o600
    longer = Generation(lineage="a", counts={"main": Count(begun=4), "another": Count(begun=1)})
    shorter = Generation(lineage="b", counts={"main": Count(begun=100)})
    for generation in (longer, shorter):
        file.write(generation)
        assert GenerationFile(tmp_path / "hookchain.db").read() == generation
    file.path.write_bytes(b"\xff{")
    assert file.read() is None


def test_a_reason_fits() -> None:
    """Into what is kept of it, with large numbers."""
    for left in (
        restores.RestoreCheck(since_ms=0, missing=1_234_567, found=1_234_567),
        restores.RestoreCheck(since_ms=0, found=1_234_567),
    ):
        for is_list in (True, False):
            assert len(restores.reason_of(left, is_list=is_list)) <= pausing.LONGEST_REASON
    assert len(restores.ASKING) <= pausing.LONGEST_REASON
