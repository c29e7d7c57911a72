"""Rules that run by the clock."""

from __future__ import annotations

import msgspec


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """What the timetable says of a rule: its times as text, with their zone ("" while there is no such rule); up to when they are
    decided; and the first one that is not."""

    rule: str
    every: str
    decided_ms: int
    next_ms: int
