"""The gallery finds all that is wanted, each once, newest first, however few rows a page may look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from storage import schema
from storage.engine import Connection, Database
from storage.reading import gallery
from storage.reading.cards import STATUSES, Card, CardFilter
from storage.records import TaskRow
from storage.tasks import rows as tasks


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with one task, or a task alone."""

    id: str
    at_ms: int
    upstream: str
    prompt: str
    task_status: str
    submission_state: str
    asked_by: str
    has_chain: bool

    @property
    def status(self) -> str:
        if self.task_status == "MODAL" or (self.has_chain and self.submission_state in ("uncertain", "dead")):
            return "attention"
        if self.task_status == "IN_PROGRESS" or (self.has_chain and self.submission_state == "waiting"):
            return "active"
        failed = self.task_status in ("FAILURE", "CANCEL", "LOST")
        return "failed" if failed or (self.has_chain and self.submission_state == "rejected") else "done"

    def is_wanted(self, wanted: CardFilter) -> bool:
        return (
            wanted.status in ("", self.status)
            and wanted.upstream in ("", self.upstream)
            and (not wanted.asked_by or (self.has_chain and wanted.asked_by == self.asked_by))
            and wanted.text.lower() in self.prompt.lower()
            and self.at_ms >= wanted.since_ms
            and (not wanted.until_ms or self.at_ms < wanted.until_ms)
        )


TASK_STATUSES = ["SUCCESS", "FAILURE", "CANCEL", "LOST", "IN_PROGRESS", "MODAL"]
THINGS = st.lists(
    st.builds(
        Thing,
        id=st.just(""),
        at_ms=st.integers(1, 12),  # many of one age
        upstream=st.sampled_from(["main", "other"]),
        prompt=st.sampled_from(["a cat", "A CAT 100%", "dog_s", "", "猫"]),
        task_status=st.sampled_from(TASK_STATUSES),
        submission_state=st.sampled_from(["accepted", "waiting", "uncertain", "dead", "rejected"]),
        asked_by=st.sampled_from(["rule:a", "person:page"]),
        has_chain=st.booleans(),
    ),
    max_size=14,
)
WANTED = st.builds(
    CardFilter,
    status=st.sampled_from(["", "", *STATUSES]),
    upstream=st.sampled_from(["", "main"]),
    asked_by=st.sampled_from(["", "rule:a"]),
    text=st.sampled_from(["", "cat", "100%", "_", "猫", "\\"]),
    since_ms=st.sampled_from([0, 4]),
    until_ms=st.sampled_from([0, 9]),
)


def write(connection: Connection, things: list[Thing]) -> None:
    for table in (schema.tasks, schema.chains, schema.submissions):
        connection.execute(delete(table))
    for thing in things:
        chain_id = f"c-{thing.id}" if thing.has_chain else None
        connection.execute(insert(schema.tasks), task_values(thing, chain_id))
        if chain_id is not None:
            connection.execute(
                insert(schema.chains),
                {"id": chain_id, "upstream": thing.upstream, "root_task_id": f"t-{thing.id}"}
                | {"submissions": 1, "created_at_ms": thing.at_ms, "prompt": thing.prompt},
            )
            connection.execute(insert(schema.submissions), submission_values(thing, chain_id))


def task_values(thing: Thing, chain_id: str | None) -> dict[str, Any]:
    row = msgspec.structs.replace(
        tasks.blank(thing.upstream, f"t-{thing.id}", thing.at_ms),
        status=thing.task_status,
        chain_id=chain_id,
        prompt=thing.prompt,
        finished_at_ms=None if thing.task_status in ("IN_PROGRESS", "MODAL") else thing.at_ms,
    )
    return {name: getattr(row, name) for name in TaskRow.__struct_fields__}


def submission_values(thing: Thing, chain_id: str) -> dict[str, Any]:
    words = dict.fromkeys(("label", "parent_id", "lane", "outcome", "reason", "worker"), "")
    numbers = dict.fromkeys(
        ("depth", "priority", "queue_at_ms", "attempts", "forgiven", "repeats", "run_at_ms"), 0
    )
    return (
        words
        | numbers
        | {
            "id": f"s-{thing.id}",
            "idempotency_key": f"k-{thing.id}",
            "chain_id": chain_id,
            "upstream": thing.upstream,
            "kind": "imagine",
            "request": b'{"kind":"imagine","prompt":""}',
            "asked_by": thing.asked_by,
            "state": thing.submission_state,
            "task_ids": "[]",
            "created_at_ms": thing.at_ms,
            "updated_at_ms": thing.at_ms,
        }
    )


def all_pages(connection: Connection, wanted: CardFilter, most: int) -> Iterator[Card]:
    before = None
    for _ in range(200):
        found = gallery.page(connection, wanted, most=most, before=before)
        yield from found.cards
        if found.next is None:
            return
        assert before is None or found.next < before, "each page goes on"
        before = found.next
    raise AssertionError("pages without end")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=THINGS, wanted=WANTED, most=st.integers(1, 5), looked_at=st.integers(1, 4))
async def test_all_pages_together_are_what_is_wanted(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    things: list[Thing],
    wanted: CardFilter,
    most: int,
    looked_at: int,
) -> None:
    """Compared with a list that is filtered and sorted as plainly as can be."""
    monkeypatch.setattr(gallery, "LOOKED_AT", looked_at)
    things = [msgspec.structs.replace(one, id=f"{n:03}") for n, one in enumerate(things)]
    await database.write("test", lambda connection: write(connection, things))
    cards = await database.read(lambda connection: list(all_pages(connection, wanted, most)))
    expected = [one for one in things if one.is_wanted(wanted)]
    assert sorted(one.tasks[0].id for one in cards) == sorted(f"t-{one.id}" for one in expected)
    assert [one.status for one in cards] == [
        next(thing.status for thing in expected if f"t-{thing.id}" == one.tasks[0].id) for one in cards
    ]
    ages = [one.created_at_ms for one in cards]
    assert ages == sorted(ages, reverse=True)


async def test_a_page_looks_at_so_many_rows_and_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found nowhere gives empty pages that go on, and an end."""
    monkeypatch.setattr(gallery, "LOOKED_AT", 10)
    thing = Thing(
        id="", at_ms=0, upstream="main", prompt="a cat", task_status="SUCCESS", submission_state="accepted",
        asked_by="rule:a", has_chain=True,
    )  # fmt: skip
    things = [msgspec.structs.replace(thing, id=f"{n:03}", at_ms=n) for n in range(25)]
    await database.write("test", lambda connection: write(connection, things))

    def pages(connection: Connection) -> list[int]:
        sizes, before = [], None
        for _ in itertools.count():
            found = gallery.page(connection, CardFilter(text="no such words"), most=5, before=before)
            sizes.append(len(found.cards))
            before = found.next
            if before is None:
                return sizes
        raise AssertionError

    assert await database.read(pages) == [0, 0, 0]


async def test_the_mark_of_a_card_changes_with_its_tasks_and_submissions(database: Database) -> None:
    thing = Thing(
        id="1", at_ms=5, upstream="main", prompt="a cat", task_status="IN_PROGRESS", submission_state="waiting",
        asked_by="rule:a", has_chain=True,
    )  # fmt: skip
    await database.write("test", lambda connection: write(connection, [thing]))
    before = await database.read(lambda connection: gallery.version_of(connection, "c-1"))

    def advance(connection: Connection) -> None:
        row = tasks.hold(connection, "main", ["t-1"], 6)["t-1"]
        tasks.put(connection, msgspec.structs.replace(row, progress=50, updated_at_ms=6))

    await database.write("test", advance)
    assert await database.read(lambda connection: gallery.version_of(connection, "c-1")) != before
    assert await database.read(lambda connection: gallery.version_of(connection, "none")) == (0,) * 7
