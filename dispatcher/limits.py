"""What an upstream can take: places, requests a second, pauses it asked for, and a breaker.

Pure: how its limits stand comes in and goes out as a value, and time is an argument. All processes share it by the row
that `storage/upstreams.py` keeps.
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from midjourney.dialects import Upstream
from storage.upstreams import Load, Standing

BREAKER_AFTER = 5
"""Requests in a row without a usable answer, after which no more are sent for a while."""

BREAKER_FIRST_MS = 10_000
BREAKER_LONGEST_MS = 300_000
"""How long the breaker stays open: doubled each time the one request that is let through fails too."""

FULL_HOLD_MS = 500
"""How long nothing is sent after a full queue that names no time: one request found out for all of them."""


def places(upstream: Upstream, standing: Standing, load: Load, now_ms: int) -> int:
    """How many requests may be sent now. While the breaker is open, one at a time when its time is over."""
    if standing.paused or closed_until_ms(upstream, standing, now_ms):
        return 0
    free = upstream.concurrency - load.requests
    if upstream.jobs:
        free = min(free, upstream.jobs - load.jobs)
    if upstream.rate:
        free = min(free, _unspent(upstream, standing, now_ms))
    if standing.open_ms:
        free = min(free, 1 - load.requests)
    return max(0, free)


def spent(upstream: Upstream, standing: Standing, requests: int, now_ms: int) -> Standing:
    """After so many requests. Those within the rate wait for nothing; more are the next second's, taken ahead."""
    if not upstream.rate or not requests:
        return standing
    paid_us = max(standing.rate_paid_until_us, 1000 * now_ms) + requests * _interval_us(upstream)
    return replace(standing, rate_paid_until_us=paid_us)


def wait_ms(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """How long the last question that was `spent` must wait. It needs no place, and is asked while a queue is full."""
    if not upstream.rate:
        return 0
    late_us = standing.rate_paid_until_us - _burst(upstream) * _interval_us(upstream) - 1000 * now_ms
    return max(0, math.ceil(late_us / 1000))


def failed(standing: Standing, now_ms: int) -> Standing:
    """A request came to nothing; enough of them open the breaker."""
    failures = standing.failures + 1
    if failures < BREAKER_AFTER and not standing.open_ms:
        return replace(standing, failures=failures)
    open_ms = min(2 * standing.open_ms or BREAKER_FIRST_MS, BREAKER_LONGEST_MS)
    return replace(standing, failures=failures, open_ms=open_ms, open_until_ms=now_ms + open_ms)


def held(standing: Standing, now_ms: int, for_ms: int) -> Standing:
    """Send nothing for a while: the upstream's queue is full, or it said so (Retry-After)."""
    return replace(standing, held_until_ms=max(standing.held_until_ms, now_ms + for_ms))


def closed_until_ms(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """Until when nothing is sent, whatever is free; 0 when something may be."""
    until_ms = max(standing.held_until_ms, standing.open_until_ms)
    if upstream.rate and until_ms <= now_ms and not _unspent(upstream, standing, now_ms):
        spared_us = (_burst(upstream) - 1) * _interval_us(upstream)
        until_ms = math.ceil((standing.rate_paid_until_us - spared_us) / 1000)
    return until_ms if until_ms > now_ms else 0


def breaker(standing: Standing) -> str:
    """ "closed", or "open" while only single requests are tried."""
    return "open" if standing.open_ms else "closed"


def _interval_us(upstream: Upstream) -> int:
    """Between two requests in the long run."""
    return round(1_000_000 / upstream.rate)


def _burst(upstream: Upstream) -> int:
    """Requests that a quiet second has saved."""
    return max(1, int(upstream.rate))


def _unspent(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """Requests within the rate at this moment."""
    ahead_us = max(0, standing.rate_paid_until_us - 1000 * now_ms)
    return max(0, (_burst(upstream) * _interval_us(upstream) - ahead_us) // _interval_us(upstream))
