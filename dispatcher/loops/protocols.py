"""Protocols by which loops use each other without importing each other. `hookchain/worker.py` connects them."""

from __future__ import annotations

from typing import Any, Protocol

from storage.engine import Work


class Worker(Protocol):
    """The membership of this process: `dispatcher/loops/heartbeat.py`."""

    name: str
    is_alone: bool

    def may_send(self) -> bool:
        """True while other workers count this one as alive."""


class Sender(Protocol):
    """Sends staged submissions: `dispatcher/loops/submit.py`."""

    def claims(self) -> list[tuple[str, Work]]:
        """Named units for the end of the transaction that stages submissions. After the commit, their results go to `accept`."""

    def accept(self, claimed: Any) -> None:
        """Send the submissions that `claim` returned."""
