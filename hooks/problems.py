"""Errors as RFC 9457 problem bodies."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from storage.records.refusals import Why

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An error response. `detail` says what is wrong and what to do; `members` are added to the body."""

    def __init__(
        self, status: int, detail: str, *, headers: dict[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def body(self) -> bytes:
        """Return the problem as JSON."""
        return msgspec.json.encode(
            {"type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status}
            | {"detail": self.detail}
            | self.members
        )

    def response(self) -> Response:
        """Return the problem as a response."""
        return Response(self.body(), status_code=self.status, media_type=CONTENT_TYPE, headers=self.headers)


class Refused(Problem):
    """A refused callback, which is counted and shown (hooks/refusals.py).

    `detail_kept` is what the dashboard and the API show of the last one. `start` is the beginning of a body that was not read
    to its end; it may hold the task's id.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        why: Why,
        detail_kept: str = "",
        start: bytes | None = None,
        headers: dict[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(status, detail, headers=headers, **members)
        self.why = why
        self.detail_kept = detail_kept or detail
        self.start = start
