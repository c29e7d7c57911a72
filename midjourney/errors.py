"""Errors between an upstream and hookchain.

ProtocolError
├── Undecodable           bytes that are not a task or an answer; `reason` says why
├── InvalidRequest        a request that no upstream of the dialect would accept; names the field
├── NotSent               the request never left: repeating it costs nothing
├── NoAnswer              the request may have arrived: repeating it may cost money
└── UpstreamRefused       an error as the answer to a free request (fetch, list)
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of the errors that `midjourney` raises."""


class Undecodable(ProtocolError):
    """Bytes that could not be understood. `is_json` is False for invalid JSON, and True for JSON that is not a task."""

    def __init__(self, reason: str, *, is_json: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_json = is_json


class InvalidRequest(ProtocolError):
    """A request that was found to be wrong before it was sent. `field` is the request's field that is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class NotSent(ProtocolError):
    """The connection could not be made, so the upstream has not received the request."""


class NoAnswer(ProtocolError):
    """The connection broke, or the time ran out, after the request may have left."""


class UpstreamRefused(ProtocolError):
    """An upstream answered a read with an error. `status` is the HTTP status, `body` the start of the answer."""

    def __init__(self, message: str, *, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


def without_frames(error: BaseException) -> BaseException:
    """The same error without its traceback and its cause, so that it can be stored.

    A traceback holds the variables of its frames, including whole answers; a future that holds the error, while a frame holds the
    future, keeps them all in memory until the garbage collector runs.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
