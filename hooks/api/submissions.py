"""GET /api/submissions: lists submissions, and shows one with its attempts."""

from __future__ import annotations

from starlette.requests import Request

from hooks.api import shapes
from hooks.api.answers import SubmissionDetail, SubmissionPage
from hooks.api.paging import age_cursor, cursor_of, filters, page_of
from hooks.problems import Problem
from storage.engine import Database
from storage.reading import pages
from storage.submissions import submission_queue


class Submissions:
    """Handlers that read one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, request: Request) -> tuple[int, SubmissionPage]:
        """List submissions, newest first; filter by `state`, `upstream`, `chain_id`, `kind`, `asked_by` and `parent_id`."""
        most, cursor = page_of(request)
        equal = filters(request, "state", "upstream", "chain_id", "kind", "asked_by", "parent_id")
        found = await self._database.read(
            lambda connection: pages.submission_page(
                connection, most=most, before=age_cursor(cursor), equal=equal
            )
        )
        return 200, SubmissionPage(
            submissions=[shapes.submission_shape(submission) for submission in found],
            cursor=cursor_of(found.next),
        )

    async def get(self, request: Request) -> tuple[int, SubmissionDetail]:
        """Return a submission with its attempts."""
        submission_id = request.path_params["id"]
        found, attempts = await self._database.read(
            lambda connection: (
                submission_queue.find(connection, submission_id),
                pages.attempts_of(connection, submission_id),
            )
        )
        if found is None:
            raise Problem(404, f"There is no submission {submission_id!r}")
        return 200, shapes.submission_detail(found, attempts)
