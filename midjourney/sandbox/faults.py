"""Switches that make the sandbox misbehave in ways seen in the wild. A new one is a line in `SWITCHES`."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from random import Random
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from midjourney.sandbox import chance

Item = TypeVar("Item")

DROP_PROBABILITY = 0.3


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How callbacks go wrong. The defaults are a sender without faults of its own."""

    copies: int = 1  # how often each callback is sent
    shuffled: bool = False  # held until the task has ended, then all sent out of order
    drop: float = 0.0  # probability, for each single POST, that it is not made


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One name a user can give, what it does in a sentence, and what it changes."""

    meaning: str
    turn_on: Callable[[Faults], Faults]


SWITCHES = {
    "duplicate": Switch(
        meaning="every callback is sent three times",
        turn_on=lambda faults: replace(faults, copies=3),
    ),
    "shuffle": Switch(
        meaning="the callbacks of a task are held until it has ended, then sent out of order, as they were",
        turn_on=lambda faults: replace(faults, shuffled=True),
    ),
    "drop": Switch(
        meaning="three callbacks of ten are lost",
        turn_on=lambda faults: replace(faults, drop=DROP_PROBABILITY),
    ),
}


def parse(text: str) -> Faults:
    """`"duplicate,shuffle"` → Faults. Raises ValueError that names the nearest known switch."""
    faults = Faults()
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in SWITCHES:
            raise ValueError(_unknown(name))
        faults = SWITCHES[name].turn_on(faults)
    return faults


def shuffled(items: Sequence[Item], *key: object) -> list[Item]:
    """The items in an order that follows from `key` alone."""
    order = list(items)
    Random(chance.number("shuffle", *key)).shuffle(order)
    return order


def is_dropped(faults: Faults, *key: object) -> bool:
    """Whether the POST that `key` names is lost; it follows from `key` alone."""
    return chance.fraction("drop", *key) < faults.drop


def _unknown(name: str) -> str:
    nearest = get_close_matches(name, SWITCHES, n=1, cutoff=0.0)[0]
    return f'unknown fault "{name}". Did you mean "{nearest}"? Known: {", ".join(sorted(SWITCHES))}.'
