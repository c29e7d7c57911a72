"""Bounds the callbacks in flight: when storage is slower than the senders, they get 503 and memory does not grow.

A request holds everything of its callback until the commit, so bounding the requests bounds the writer's queue too. A refused
callback is not lost for good: senders never retry, but hookchain polls for the task.
"""

from __future__ import annotations

from hooks.problems import Refused

MOST_REQUESTS = 4096
"""Callbacks in flight. The busiest sender has a pool of ten (novicezk, Plus); each callback in flight takes about 20 kB here."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of all their bodies together."""


class Intake:
    """Counts the callbacks in flight and the bytes of their bodies."""

    def __init__(self, *, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._requests = 0
        self._bytes = 0

    def enter(self) -> None:
        """Take room for one callback; `leave` gives it back. Raises `Refused` 503 if there is none."""
        if self._requests >= self._most_requests:
            raise _full()
        self._requests += 1

    def hold(self, size: int) -> None:
        """Count `size` more bytes that have arrived. Raises `Refused` 503 if there is no room for them."""
        if self._bytes + size > self._most_bytes:
            raise _full()
        self._bytes += size

    def leave(self, size: int) -> None:
        """Give back the room for one callback and for `size` bytes of its body."""
        self._requests -= 1
        self._bytes -= size


class Reservation:
    """The room for one callback and its bytes, held for the duration of a `with` block."""

    __slots__ = ("_intake", "size")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.size = 0

    def __enter__(self) -> Reservation:
        self._intake.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._intake.leave(self.size)

    def add(self, size: int) -> None:
        """Take room for `size` more bytes. Raises `Refused` 503 if there is none."""
        self._intake.hold(size)
        self.size += size


def _full() -> Refused:
    return Refused(
        503,
        "Too many callbacks are waiting to be stored; send it again",
        why="busy",
        headers={"retry-after": "5", "connection": "close"},
    )
