"""What a submission follows from: the joins between it and the person or task that its line of causes began with. Pure.

What a receiver of chain.rested requests is activity in the chain like any other, and would give the signal again, for ever. So a
submission remembers the joins that it follows from, and what its receivers request inherits them. No line of causes passes twice
through the same join: the ends of what follows from one neither begin nor change a period of it. What a person requests begins a new
line.
"""

from __future__ import annotations

from storage.records import CHILDREN_DONE, JOINS


def following(before: str, signal: str | None) -> str:
    """The joins that a request follows from: those of its event's submission, and its event's own signal if that is a join."""
    names = set(before.split())
    if signal in JOINS:
        names.add(str(signal))
    return " ".join(sorted(names))


def is_after(follows: str, signal: str) -> bool:
    """True if something follows from this join, so that it does not count towards it."""
    return signal in follows.split()


def counts_for(follows: str, before: str) -> bool:
    """True if a submission counts among the children of a task whose own submission follows from the joins `before`."""
    return not is_after(follows, CHILDREN_DONE) and set(follows.split()) <= set(before.split())
