"""An order waits for the receipts of the same order, whatever moment it comes at."""

from __future__ import annotations

import asyncio

from hooks.gateway.receipts import Receipts
from storage.engine import Database

RECEIPTS = 20


async def test_an_order_may_come_at_any_moment_of_a_receipt(database: Database) -> None:
    """Also between the moment at which a receipt is stored and the one at which it is forgotten: a server hung there."""
    receipts = Receipts(database)
    orders: list[asyncio.Task[None]] = []
    for number in range(RECEIPTS):
        receipts.written("ann", "the same order", str(number))
        stored = asyncio.create_task(receipts.settled("ann", "the same order"))
        while not stored.done():  # one in each turn of the loop
            orders.append(asyncio.create_task(receipts.settled("ann", "the same order")))
            await asyncio.sleep(0)
    await asyncio.gather(*orders)
    await receipts.stop()
    assert len(orders) > RECEIPTS
