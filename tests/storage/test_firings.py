"""What a limit counts for: a task, a chain, or the picture that a prompt made."""

from __future__ import annotations

import msgspec
import pytest

from storage.deliveries import firings
from storage.deliveries.firings import Limit, Subject
from storage.engine import Database
from storage.tasks import rows as tasks


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}])
async def test_tasks_that_are_their_own_ancestors_have_a_root_too(
    database: Database, parents: dict[str, str]
) -> None:
    """As windows were once whose answers were proven. The rule fires, and not a second time."""
    rows = [
        msgspec.structs.replace(tasks.blank("main", task_id, 1), parent_id=parent)
        for task_id, parent in parents.items()
    ]
    await database.write("test", lambda connection: tasks.put(connection, *rows))
    limit, subject = Limit(most=1, per="root"), Subject(upstream="main", task_id="a", chain_id="c")
    told = [
        await database.write("test", lambda connection: firings.fire(connection, "r", limit, subject))
        for _ in range(2)
    ]
    assert told == ["", "did not fire: it has fired once for this root, and its limit is 1"]
