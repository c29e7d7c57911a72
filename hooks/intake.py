"""How much may be on its way in: when storage is slower than the senders, 503 rather than memory growth.

Everything of a callback is held by its request until it is committed, so that bounding the requests bounds the queue
of the writer too. A refused callback is not lost for good: senders try only once, but reconciliation asks.
"""

from __future__ import annotations

from hooks.problems import Problem

MOST_REQUESTS = 4096
"""Callbacks in flight. The busiest sender has a pool of ten (novicezk, Plus); each in flight costs some 20 kB here."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of their bodies, together."""


class Intake:
    """Counts what is on its way in."""

    def __init__(self, *, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._requests = 0
        self._bytes = 0

    def enter(self) -> None:
        """Room for one callback. Raises the 503 when there is none; `leave` gives it back."""
        if self._requests >= self._most_requests:
            raise _full()
        self._requests += 1

    def hold(self, size: int) -> None:
        """So many bytes of it have come. Raises the 503 when there is no room for them."""
        if self._bytes + size > self._most_bytes:
            raise _full()
        self._bytes += size

    def leave(self, size: int) -> None:
        """It has gone, and the bytes that were held for it."""
        self._requests -= 1
        self._bytes -= size


class Held:
    """The place and the bytes of one callback, for the time of a `with` block."""

    __slots__ = ("_intake", "size")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.size = 0

    def __enter__(self) -> Held:
        self._intake.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._intake.leave(self.size)

    def add(self, size: int) -> None:
        """So many bytes came. Raises the 503 when there is no room for them."""
        self._intake.hold(size)
        self.size += size


def _full() -> Problem:
    return Problem(
        503,
        "more callbacks are waiting to be kept than there is room for; send it again",
        headers={"retry-after": "5", "connection": "close"},
    )
