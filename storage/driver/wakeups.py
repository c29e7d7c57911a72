"""Wake-ups tell a loop that there may be work for it. A lost wake-up does no harm, because loops also poll."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

Topic = Literal["events", "submissions", "asks", "signs"]
"""What was written: events that may have receivers, submissions that may be due, tasks to poll the upstream about, and signs that a
copy was restored."""

TOPICS: tuple[Topic, ...] = ("events", "submissions", "asks", "signs")


class Wakeups:
    """Functions to call when something was written, or is about to be written by the batch that is being collected.

    Waking early is safe, because a claim reads from the database; and it is fast, because the claim then shares the transaction
    of what it claims.
    """

    def __init__(self) -> None:
        self._callbacks: defaultdict[Topic, list[Callable[[], None]]] = defaultdict(list)
        self.announce: Callable[[Topic], None] = lambda _topic: None
        """Called for every wake-up of this process, to pass it on to other processes."""

    def subscribe(self, topic: Topic, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop at every wake-up of the topic. It must do no more than set a flag."""
        self._callbacks[topic].append(callback)

    def wake(self, *topics: Topic) -> None:
        """Wake the loops of this process and of others: something was written, or will be in a moment."""
        for topic in topics:
            self.wake_local(topic)
            self.announce(topic)

    def wake_local(self, topic: Topic) -> None:
        """Wake only the loops of this process: another process has written something."""
        for callback in self._callbacks[topic]:
            callback()
