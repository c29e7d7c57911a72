"""Protocols by which loops use each other without importing each other. `hookchain/worker.py` connects them."""

from __future__ import annotations

from typing import Protocol

from storage.engine import Closing


class Worker(Protocol):
    """The membership of this process: `dispatcher/loops/heartbeat.py`."""

    name: str
    is_alone: bool

    def may_send(self) -> bool:
        """True while other workers count this one as alive."""


class Sender(Protocol):
    """Sends staged submissions: `dispatcher/loops/submit.py`."""

    @property
    def claim(self) -> Closing:
        """Closes a transaction that stages submissions: claims what is due, and sends it after the commit."""
