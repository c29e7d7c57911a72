"""Errors as RFC 9457 problem bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error. `detail` says what is wrong and what to do; further members go into the body."""

    def __init__(
        self, status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(
            {"type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status}
            | {"detail": self.detail}
            | self.members
        )

    def response(self) -> Response:
        """The problem as an answer."""
        return Response(self.body(), status_code=self.status, media_type=CONTENT_TYPE, headers=self.headers)
