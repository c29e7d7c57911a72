"""Upstreams: what all processes share about one of them."""

from __future__ import annotations

import msgspec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The standing of one upstream: whether it is paused, and its limits.

    `switched_at_ms`: when it was last paused or resumed, 0 for never. `pause_reason`: "" if a person paused it.
    `rate_paid_until_us`: the time, in epoch microseconds, up to which its rate is used up. `held_until_ms`: nothing is
    sent until then, because its queue is full or it asked hookchain to wait; `held_ms`: the length of that wait. `left_at_ms`:
    when a submission was last claimed for sending, 0 for never. `failures`: requests in a row without a usable answer.
    `open_until_ms`, `open_ms`: until when the breaker is open, and for how long it was opened; 0 while it is closed.
    """

    name: str
    paused: bool = False
    rate_paid_until_us: int = 0
    held_until_ms: int = 0
    failures: int = 0
    open_until_ms: int = 0
    open_ms: int = 0
    pause_reason: str = ""
    switched_at_ms: int = 0
    held_ms: int = 0
    left_at_ms: int = 0
