"""Wake-ups: "there may be something for you" within one process. Polling stands behind them."""

from __future__ import annotations

from collections.abc import Callable


class Wakeups:
    """Callbacks that are called when something was written, or is about to be in the batch that is being gathered.

    Being woken early is safe, since what is claimed is read from the database; and quick, since the claim then shares
    the transaction of what it claims.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback` at every wake-up, on the event loop. It must only set a flag."""
        self._callbacks.append(callback)

    def wake(self) -> None:
        """Something was written, or will be in a moment."""
        for callback in self._callbacks:
            callback()
