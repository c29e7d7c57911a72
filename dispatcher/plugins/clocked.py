"""When a rule runs by the clock."""

from __future__ import annotations

import msgspec

from dispatcher.policy.occurrences import Missed


class Clocked(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a rule, its `every` as it is written, and what becomes of missed times. `upstream`: the one that its events name, "" for the
    only one. `submits`: it requests something there, so that it waits while that upstream is paused."""

    rule: str
    every: str
    missed: Missed = "skip"
    upstream: str = ""
    submits: bool = False
