"""/api/waiting: submissions that wait to be sent, why and until when; a person can drop one, or have it sent now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request

from hooks.api import answers, shapes
from hooks.api.paging import LARGEST_PAGE, age_cursor, cursor_of, filters, page_of
from hooks.api.reports import Waiting, WaitingPage
from hooks.problems import Problem
from storage import clock
from storage.engine import Connection, Database
from storage.reading import waiting as reading
from storage.records import Submission
from storage.submissions import submission_queue, waiting
from storage.tickets import withdrawing

DROPPED = "dropped by hand"
"""The reason that a submission which a person dropped has."""


class WaitingSubmissions:
    """Handlers for submissions that wait."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, WaitingPage]:
        """List submissions that wait to be sent, newest first, with why and until when; filter by `upstream`."""
        most, cursor = page_of(request)
        upstream = filters(request, "upstream").get("upstream", "")
        return 200, await self._database.read(
            partial(page, most=most, before=age_cursor(cursor), upstream=upstream, now_ms=clock.now_ms())
        )

    async def drop(self, request: Request) -> tuple[int, answers.Submission]:
        """Drop a submission that waits: it is not sent, and costs nothing. 404 if it is unknown, 409 if it does not wait any more."""
        work = partial(withdrawing.drop, why=DROPPED, now_ms=clock.now_ms())
        return 200, await self._changed(request, lambda connection, id_: work(connection, id_))

    async def send_now(self, request: Request) -> tuple[int, answers.Submission]:
        """Make a submission that waits due now. 404 if it is unknown, 409 if it does not wait any more."""
        work = partial(waiting.send_now, now_ms=clock.now_ms())
        return 202, await self._changed(request, lambda connection, id_: work(connection, id_))

    async def _changed(self, request: Request, work: Callable[[Connection, str], bool]) -> answers.Submission:
        submission_id = request.path_params["id"]
        if problem := await self._database.write("command", partial(refused, work, submission_id)):
            raise problem
        self._database.wakeups.wake("events", "submissions")
        found = await self._database.read(lambda connection: submission_queue.find(connection, submission_id))
        if found is None:
            raise unknown(submission_id)
        return shapes.submission_shape(found)


def refused(
    work: Callable[[Connection, str], bool], submission_id: str, connection: Connection
) -> Problem | None:
    """Change a submission that waits. Returns the problem if it does not wait."""
    if work(connection, submission_id):
        return None
    found = submission_queue.find(connection, submission_id)
    if found is None:
        return unknown(submission_id)
    return Problem(409, f"Submission {submission_id} does not wait any more: it is {found.state}")


def unknown(submission_id: str) -> Problem:
    """The problem of an id that no submission has."""
    return Problem(404, f"There is no submission {submission_id!r}")


def every(connection: Connection, *, upstream: str, now_ms: int) -> list[Waiting]:
    """Return all that waits, newest first."""
    listed: list[Waiting] = []
    before: tuple[int, str] | None = None
    while True:
        found = reading.page(connection, most=LARGEST_PAGE, before=before, upstream=upstream)
        listed += _shown(connection, found, now_ms)
        if found.next is None:
            return listed
        before = age_cursor(list(found.next))


def page(
    connection: Connection, *, most: int, before: tuple[int, str] | None, upstream: str, now_ms: int
) -> WaitingPage:
    """Return a page of what waits."""
    found = reading.page(connection, most=most, before=before, upstream=upstream)
    return WaitingPage(waiting=_shown(connection, found, now_ms), cursor=cursor_of(found.next))


def _shown(connection: Connection, found: list[Submission], now_ms: int) -> list[Waiting]:
    why = reading.reasons(connection, found, now_ms)
    return [
        shapes.extended(Waiting, shapes.submission_shape(submission), why=why[submission.id])
        for submission in found
    ]
