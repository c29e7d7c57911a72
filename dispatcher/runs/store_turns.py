"""Lets the runs that change the store of one chain take turns in this process, so that they need not be done again.

This is for speed only: storage/deliveries/chain_stores.py decides which change counts, whatever other processes do. A receiver takes
turns from the first time that it changes a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from storage.records import ClaimedDelivery


class StoreTurns:
    """The turns of one process, by chain."""

    def __init__(self) -> None:
        self._receivers: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def note(self, receiver: str) -> None:
        """The receiver has changed a store: from now on, its runs in one chain take turns with others that do."""
        self._receivers.add(receiver)

    def takes_turns(self, receiver: str) -> bool:
        """True if the receiver is known to change stores."""
        return receiver in self._receivers

    async def deliver(
        self, claimed: ClaimedDelivery, work: Callable[[ClaimedDelivery], Awaitable[None]]
    ) -> None:
        """Do `work` once no other run that takes turns is in the delivery's chain, and keep the others waiting until it has ended."""
        if claimed.chain is None or not self.takes_turns(claimed.delivery.receiver):
            await work(claimed)
            return
        lock = self._locks.setdefault(claimed.chain.id, asyncio.Lock())
        async with lock:
            await work(claimed)
