"""What can go wrong between an upstream and us.

ProtocolError
├── Undecodable           bytes that are no task, or no answer; `reason` says why
├── InvalidRequest        a request that no upstream of the dialect would take; names the field
├── NotSent               the request never left: repeating it costs nothing
├── NoAnswer              the request may have arrived: repeating it may cost money
└── UpstreamRefused       an answer that is an error, to a question that costs nothing (fetch, list)
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of what `midjourney` raises."""


class Undecodable(ProtocolError):
    """Bytes that could not be understood. `is_json` tells "not JSON" from "JSON, but no task"."""

    def __init__(self, reason: str, *, is_json: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_json = is_json


class InvalidRequest(ProtocolError):
    """A request that is wrong before it is sent. `field` is the request's own name for what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class NotSent(ProtocolError):
    """The connection could not be made, so the upstream has not seen the request."""


class NoAnswer(ProtocolError):
    """The request was on its way when the connection broke or the time ran out."""


class UpstreamRefused(ProtocolError):
    """An upstream answered a question with an error. `status` is the HTTP status, `body` the start of the answer."""

    def __init__(self, message: str, *, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
