"""One look at an upstream for uncertain submissions: reads its list, and single tasks that the list does not show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from dispatcher.policy.absence import is_absent
from dispatcher.policy.submission_evidence import Listing
from midjourney.client import Client
from midjourney.errors import ProtocolError, UpstreamRefused
from midjourney.lists import Listed
from midjourney.types import Task
from storage.engine import Connection, Database
from storage.records import Submission
from storage.submissions import uncertain
from storage.tasks import aliases
from storage.tasks import rows as tasks
from storage.upstreams.list_facts import ListFacts

log = structlog.get_logger("hookchain")

NO_LIST = (404, 405, 501)
"""HTTP statuses of a server that has no list."""

UNREAD = "entries of an upstream's list cannot be read, so that it does not show what is missing"

OURS = 500
"""With how many of our newest tasks a list is compared."""

MOST_MODALS = 20
"""The most modals that are fetched one by one in a look."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream showed when it was asked at `asked_ms`: `tasks`, and its list, or None if it gave none."""

    asked_ms: int
    tasks: Sequence[Task]
    listing: Listing | None = None
    has_no_list: bool = False

    def shows_not_running(self, submission: Submission) -> bool:
        """True if the list shows that no running task can be the submission's."""
        return (
            self.listing is not None
            and not self.listing.unread
            and is_absent(
                self.listing.tasks,
                self.listing.rows,
                began_ms=submission.started_at_ms or submission.updated_at_ms,
                ended_ms=submission.updated_at_ms,
                asked_ms=self.asked_ms,
            )
        )


async def look(
    database: Database,
    client: Client,
    wanted: Sequence[Submission],
    habits: ListFacts,
    clock: Callable[[], int],
) -> Look:
    """Ask an upstream for what may prove or disprove these submissions."""
    name, asked_ms = client.upstream.name, clock()
    listed: Listed | None = None
    has_no_list = not client.dialect.has("list")
    if not has_no_list:
        try:
            listed = await client.list_all()
        except ProtocolError as error:
            has_no_list = isinstance(error, UpstreamRefused) and error.status in NO_LIST
            if not (has_no_list and habits.is_missing):
                log.info("an upstream shows no list", upstream=name, why=str(error))
    found = listed.tasks if listed is not None else []
    if listed is not None and listed.unread:
        log.warning(UNREAD, upstream=name, entries=listed.unread)
    shown = [*found, *await _fetch_modals(client, wanted, found)]
    if listed is None:
        return Look(asked_ms=asked_ms, tasks=shown, has_no_list=has_no_list)
    listing = await database.read(lambda connection: _known(connection, name, listed, asked_ms))
    return Look(asked_ms=asked_ms, tasks=shown, listing=listing)


async def _fetch_modals(client: Client, wanted: Sequence[Submission], listed: Sequence[Task]) -> list[Task]:
    """Fetch the modals whose answers are uncertain and that the list does not show."""
    shown = {task.id for task in listed}
    modals = {submission.parent_id for submission in wanted if submission.kind == "modal"} - shown
    fetched: list[Task] = []
    for task_id in sorted(modals)[:MOST_MODALS]:
        try:
            task = await client.fetch(task_id)
        except ProtocolError as error:
            log.info("a modal cannot be fetched", upstream=client.upstream.name, task=task_id, why=str(error))
            break
        if task is not None:
            fetched.append(task)
    return fetched


def _known(connection: Connection, name: str, listed: Listed, asked_ms: int) -> Listing:
    """The list, with what the database knows about its tasks."""
    ids = [task.id for task in listed.tasks]
    others = aliases.names(connection, name, ids)
    rows = tasks.find_all(connection, name, [*ids, *others.values()]) if ids else {}
    named = {task_id: rows[other] for task_id in ids if (other := others.get(task_id, task_id)) in rows}
    ours = uncertain.newest_of_ours(connection, name, OURS)
    return Listing(
        asked_ms=asked_ms,
        tasks=listed.tasks,
        unread=listed.unread,
        rows=named,
        marked=uncertain.marks_of_ours(connection, name, {task.id: task.raw for task in listed.tasks}),
        ours=[own for own in ours if own.began_ms <= asked_ms],
    )
