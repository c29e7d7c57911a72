"""What an upstream can take: places, requests a second, pauses it asked for, and a breaker. Pure: time is an argument."""

from __future__ import annotations

from midjourney.dialects import Upstream

BREAKER_AFTER = 5
"""Requests in a row without a usable answer, after which no more are sent for a while."""

BREAKER_FIRST_MS = 10_000
BREAKER_LONGEST_MS = 300_000
"""How long the breaker stays open: doubled each time the one request that is let through fails too."""

FULL_HOLD_MS = 500
"""How long nothing is sent after a full queue that names no time: one request found out for all of them."""


class Gate:
    """The limits of one upstream. Places are taken for a claim, and given back; the rest is told as it happens."""

    def __init__(self, upstream: Upstream, now_ms: int) -> None:
        self._free = upstream.concurrency
        self._rate = upstream.rate
        self._tokens = self._burst = max(1.0, upstream.rate)
        self._filled_ms = now_ms
        self._held_until_ms = 0
        self._failures = 0
        self._open_until_ms = 0
        self._open_ms = 0
        self._probing = False

    def take(self, now_ms: int) -> int:
        """All places that may be used now, taken. With the breaker half open that is one."""
        if not self._free or now_ms < self.closed_until_ms(now_ms):
            return 0
        places = self._free
        if self._rate:
            self._fill(now_ms)
            places = min(places, max(0, int(self._tokens)))
        if self._open_ms:
            places = 0 if self._probing else min(places, 1)
            self._probing = self._probing or bool(places)
        self._free -= places
        if self._rate:
            self._tokens -= places
        return places

    def ask(self, now_ms: int) -> int:
        """Take a token for a question about tasks; in how many milliseconds it may be asked.

        A question needs no place, and is asked of an upstream whose queue is full.
        """
        if not self._rate:
            return 0
        self._fill(now_ms)
        self._tokens -= 1  # below 0 it is the next one's, taken ahead
        return max(0, int(-1000 * self._tokens / self._rate))

    def put_back(self, places: int) -> None:
        """Places that were taken and not used."""
        self._free += places
        self._probing = False
        if self._rate:
            self._tokens = min(self._tokens + places, self._burst)

    def done(self) -> None:
        """A request has ended: its place is free, its token is spent."""
        self._free += 1

    def answered(self) -> None:
        """The upstream answered usably: the breaker closes."""
        self._failures = self._open_ms = self._open_until_ms = 0
        self._probing = False

    def failed(self, now_ms: int) -> bool:
        """A request came to nothing; tells whether that opened the breaker."""
        self._failures += 1
        self._probing = False
        if self._failures < BREAKER_AFTER and not self._open_ms:
            return False
        self._open_ms = min(2 * self._open_ms or BREAKER_FIRST_MS, BREAKER_LONGEST_MS)
        self._open_until_ms = now_ms + self._open_ms
        return True

    def hold(self, now_ms: int, for_ms: int) -> None:
        """Send nothing for a while: the upstream's queue is full, or it said so (Retry-After)."""
        self._held_until_ms = max(self._held_until_ms, now_ms + for_ms)

    def closed_until_ms(self, now_ms: int) -> int:
        """Until when nothing is sent; 0 when something may be."""
        until_ms = max(self._held_until_ms, self._open_until_ms)
        if self._rate and not until_ms > now_ms:
            self._fill(now_ms)
            if self._tokens < 1:
                until_ms = now_ms + int(1000 * (1 - self._tokens) / self._rate) + 1
        return until_ms if until_ms > now_ms else 0

    @property
    def breaker(self) -> str:
        """ "closed", or "open" while only single requests are tried."""
        return "open" if self._open_ms else "closed"

    def _fill(self, now_ms: int) -> None:
        passed_s = max(0, now_ms - self._filled_ms) / 1000
        self._tokens = min(self._tokens + passed_s * self._rate, self._burst)
        self._filled_ms = now_ms
