"""What this process has done for clients of the gateway since its start, for /metrics. Performs no I/O; written on the event loop only."""

from __future__ import annotations

from collections import Counter

from storage.histogram import WORK_MS, Histogram


class Tally:
    """`orders`: orders by client and answer. `answers`: the time from such a request to its answer. `messages`: tries to tell a hook
    something, by what came of them."""

    def __init__(self) -> None:
        self.orders: Counter[tuple[str, str]] = Counter()
        self.answers = Histogram(WORK_MS)
        self.messages: Counter[str] = Counter()
