"""Wake-ups: "there may be something for you". Polling stands behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

Topic = Literal["events", "submissions"]
"""What was written: events that may have receivers, submissions that may be due."""

TOPICS: tuple[Topic, ...] = ("events", "submissions")


class Wakeups:
    """Callbacks that are called when something was written, or is about to be in the batch that is being gathered.

    Being woken early is safe, since what is claimed is read from the database; and quick, since the claim then shares
    the transaction of what it claims.
    """

    def __init__(self) -> None:
        self._callbacks: defaultdict[Topic, list[Callable[[], None]]] = defaultdict(list)
        self.announce: Callable[[Topic], None] = lambda _topic: None
        """Told of every wake-up of this process, to pass it on to others."""

    def subscribe(self, topic: Topic, callback: Callable[[], None]) -> None:
        """Call `callback` at every wake-up of the topic, on the event loop. It must only set a flag."""
        self._callbacks[topic].append(callback)

    def wake(self, *topics: Topic) -> None:
        """Something was written, or will be in a moment."""
        for topic in topics:
            self.hear(topic)
            self.announce(topic)

    def hear(self, topic: Topic) -> None:
        """Another process has written something."""
        for callback in self._callbacks[topic]:
            callback()
