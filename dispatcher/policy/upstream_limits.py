"""The limits of an upstream: places, requests per second, pauses that it asked for, and a breaker.

Pure: the state of the limits comes in and goes out as a value, and time is an argument. All processes share that state in the
row that `storage/upstreams/standings.py` keeps.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec.structs import replace

from midjourney.dialects import Upstream
from storage.records import Standing
from storage.upstreams.standings import Load

BREAKER_AFTER = 5
"""After this many requests in a row without a usable answer, none are sent for a while."""

BREAKER_FIRST_MS = 10_000
BREAKER_LONGEST_MS = 300_000
"""How long the breaker stays open. The time doubles each time the single trial request fails too."""

LONGEST_AHEAD_MS = 600_000
"""How far into the future requests can use up a rate: concurrent requests cannot add up to more."""


def places(upstream: Upstream, standing: Standing, load: Load, now_ms: int) -> int:
    """How many requests may be sent now. If the breaker is open and its time is over, one at a time."""
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


def after_requests(upstream: Upstream, standing: Standing, requests: int, now_ms: int) -> Standing:
    """The standing after this many requests. Requests beyond the rate use up that of the next seconds."""
    if not upstream.rate or not requests:
        return standing
    paid_us = max(_paid_until_us(standing, now_ms), 1000 * now_ms) + requests * _interval_us(upstream)
    return replace(standing, rate_paid_until_us=paid_us)


def wait_ms(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """How long the last readback counted by `after_requests` must wait. It needs no place, and may be sent while a queue is full."""
    if not upstream.rate:
        return 0
    late_us = _paid_until_us(standing, now_ms) - _burst(upstream) * _interval_us(upstream) - 1000 * now_ms
    return max(0, math.ceil(late_us / 1000))


def failed(standing: Standing, now_ms: int) -> Standing:
    """Count a request without a usable answer; enough of them open the breaker."""
    failures = standing.failures + 1
    if failures < BREAKER_AFTER and not standing.open_ms:
        return replace(standing, failures=failures)
    open_ms = min(2 * standing.open_ms or BREAKER_FIRST_MS, BREAKER_LONGEST_MS)
    return replace(standing, failures=failures, open_ms=open_ms, open_until_ms=now_ms + open_ms)


def held(standing: Standing, now_ms: int, for_ms: int) -> Standing:
    """Send nothing for a while: the upstream's queue is full, or it asked for a pause (Retry-After)."""
    until_ms = max(possible_ms(standing.held_until_ms, now_ms, standing.held_ms), now_ms + for_ms)
    return replace(standing, held_until_ms=until_ms, held_ms=until_ms - now_ms)


def closed_until_ms(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """The time until which nothing is sent, even if places are free; 0 if requests may be sent now."""
    until_ms = max(
        possible_ms(standing.held_until_ms, now_ms, standing.held_ms),
        possible_ms(standing.open_until_ms, now_ms, standing.open_ms),
    )
    if upstream.rate and until_ms <= now_ms and not _unspent(upstream, standing, now_ms):
        spared_us = (_burst(upstream) - 1) * _interval_us(upstream)
        until_ms = math.ceil((_paid_until_us(standing, now_ms) - spared_us) / 1000)
    return until_ms if until_ms > now_ms else 0


def possible_ms(until_ms: int, now_ms: int, longest_ms: int) -> int:
    """A time that was set to at most `longest_ms` in the future; 0 if it is impossible, because the clock was set back since."""
    return until_ms if until_ms <= now_ms + longest_ms else 0


def _paid_until_us(standing: Standing, now_ms: int) -> int:
    return 1000 * possible_ms(standing.rate_paid_until_us // 1000, now_ms, LONGEST_AHEAD_MS) and (
        standing.rate_paid_until_us
    )


def breaker(standing: Standing) -> Literal["open", "closed"]:
    """ "closed", or "open" while only single requests are tried."""
    return "open" if standing.open_ms else "closed"


def _interval_us(upstream: Upstream) -> int:
    """The average time between two requests, in microseconds."""
    return round(1_000_000 / upstream.rate)


def _burst(upstream: Upstream) -> int:
    """How many requests may be sent at once after a quiet second."""
    return max(1, int(upstream.rate))


def _unspent(upstream: Upstream, standing: Standing, now_ms: int) -> int:
    """How many requests the rate allows now."""
    ahead_us = max(0, _paid_until_us(standing, now_ms) - 1000 * now_ms)
    return max(0, (_burst(upstream) * _interval_us(upstream) - ahead_us) // _interval_us(upstream))
