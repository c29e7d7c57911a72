"""The steps of one request that decide over money and time: the moment before its first byte, its end, and each read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Leaving = Callable[[], None]
"""Called in the last moment before the first byte is written. It raises an error to keep the request here."""


def at_once() -> None:
    """A request that may leave at any time."""


class Steps:
    """What a transport calls while it sends one request. It is the request's extension `trace`.

    `midjourney.transport` calls the three functions; httpcore calls the object itself, which is its hook for traces. httpcore counts
    what it receives in `midjourney.slices`.

    `leaving()`: before the first byte, once the connection stands. `written()`: when the whole request has been written, or the
    answer makes its rest unnecessary. `received(size)`: for each read, framing included; it may raise any error to end the exchange.
    """

    __slots__ = ("leaving", "received", "written")

    def __init__(
        self, *, leaving: Leaving, written: Callable[[], None], received: Callable[[int], None]
    ) -> None:
        self.leaving = leaving
        self.written = written
        self.received = received

    async def __call__(self, event: str, _info: Mapping[str, object]) -> None:
        """httpcore's trace, for the transports that use it."""
        if event.endswith("send_request_headers.started"):
            self.leaving()
        elif event.endswith("receive_response_headers.started"):
            self.written()
