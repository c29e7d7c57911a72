"""Decides which deliveries may start beside those that a worker is running. A suspect (storage/deliveries/suspects.py) runs alone.

Performs no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from storage.records import Delivery

Room = Callable[[str], int]
"""Returns how many more runs a receiver may have at the same time."""


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What is running already.

    `harmless`: returns True for a receiver that cannot end the process. `is_free`: only harmless receivers are running.
    `has_suspect`: a suspect is running and must stay alone. `rests`: no suspect may start now.
    """

    harmless: Callable[[str], bool] = lambda _name: False
    is_free: bool = True
    has_suspect: bool = False
    rests: bool = False


EMPTY = Floor()


class Choice:
    """Chooses among the due deliveries. Once a suspect is due, it takes only harmless ones, so that the suspect can start alone."""

    def __init__(self, room: Room, floor: Floor) -> None:
        self._room = room
        self._floor = floor
        self._of_receiver: Counter[str] = Counter()
        self._is_free = floor.is_free
        self._is_closed = floor.has_suspect

    def takes(self, delivery: Delivery) -> bool:
        """True if this delivery is taken. Call it once for each due delivery, in order."""
        name = delivery.receiver
        if self._of_receiver[name] >= self._room(name):
            return False
        if not self._floor.harmless(name):
            if self._is_closed or (delivery.suspected and self._floor.rests):
                return False
            self._is_closed = delivery.suspected
            if delivery.suspected and not self._is_free:
                return False
            self._is_free = False
        self._of_receiver[name] += 1
        return True
