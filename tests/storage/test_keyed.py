"""What became of submissions, by the keys of their intents."""

from __future__ import annotations

import msgspec

from midjourney.types import Task
from storage import sql_pruning
from storage.engine import Connection, Database
from storage.reading import keyed
from storage.reading.keyed import Keyed
from storage.records import TaskRow
from storage.submissions import adoption, settlements, submission_queue
from storage.submissions.settlements import Settlement
from storage.tasks import marks, rows
from tests.support.staged import stage, wanted

EITHER = {"first": "main", "second": "main", "third": "main"}


def found(connection: Connection) -> dict[str, Keyed]:
    return keyed.of_keys(connection, EITHER)


async def test_an_empty_database_knows_no_key(database: Database) -> None:
    """Reading writes nothing, and there is no secret yet from which marks are derived."""
    assert await database.read(found) == {}


async def test_a_key_gives_its_submission_and_the_last_of_its_tasks(database: Database) -> None:
    """A submission that waits has none; nor has one whose task has not called back."""

    def work(connection: Connection) -> None:
        for key in ("first", "second"):
            stage(connection, wanted(key))
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 2)
        settlements.settle_attempt(
            connection,
            begun,
            Settlement(
                state="accepted", outcome="accepted", reason="", task_ids=("modal", "task"), http_status=200
            ),
            3,
        )
        for task_id in ("modal", "task"):
            held = rows.hold(connection, "main", [task_id], 4).get(task_id)
            row = held or rows.blank("main", task_id, 4)
            rows.put(connection, msgspec.structs.replace(row, status="SUCCESS"))

    await database.write("test", work)
    known = await database.read(found)
    assert sorted(known) == ["first", "second"]
    first, second = known["first"], known["second"]
    assert first.submission is not None
    assert (first.submission.state, isinstance(first.task, TaskRow)) == ("accepted", True)
    assert (first.task and first.task.id, second.task) == ("task", None)


async def test_a_key_finds_what_was_adopted_by_its_mark(database: Database) -> None:
    """A copy was restored that lacks the submission, and the upstream shows its task: it was paid for."""

    def work(connection: Connection) -> str:
        mark = marks.of_intent(connection, "main", "third")
        shown = Task(id="task", status="SUCCESS", action="IMAGINE", prompt="a cat")
        marked = adoption.MarkedTask(mark=mark, task=shown, staged=wanted("", asked_by="adopted"))
        assert adoption.adopt(connection, "main", [marked], 5).lacked == 1
        return mark

    mark = await database.write("test", work)
    known = await database.read(found)
    assert [one.submission and one.submission.id for one in known.values()] == [mark]
    assert list(known) == ["third"]


async def test_a_key_whose_submission_was_removed_is_still_known(database: Database) -> None:
    """Its chain is gone; it must not be submitted, and paid for, again."""

    def work(connection: Connection) -> str:
        submission_id = stage(connection, wanted("first")).submission_id
        sql_pruning.KEEP_KEYS(connection, ids=[submission_id])
        sql_pruning.DROP_SUBMISSIONS(connection, ids=[submission_id])
        return submission_id

    submission_id = await database.write("test", work)
    assert await database.read(found) == {"first": Keyed(removed=submission_id)}
