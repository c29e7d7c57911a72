"""Limits how many wrong tokens this process accepts a minute, from the login form and from `Authorization: Bearer` alike.

A strong token never has to wait: otherwise a stranger who guesses would lock its owner out, behind a proxy even under the same
address, and nobody can guess it anyway. A weak token has to wait (hooks/strength.py), because only the limit of 60 guesses a
minute protects it. Beyond the limit a guess costs us next to nothing, a person who mistyped is asked to wait, and the log reports
the attempts. The counts are those of one process and end with it.
"""

from __future__ import annotations

import ipaddress
import time
from collections import deque

import structlog

from hooks.problems import Problem

log = structlog.get_logger("hookchain")

WITHIN_S = 60.0

MOST_PER_ADDRESS = 10
"""Wrong tokens from one address within `WITHIN_S`; further ones get 429. A proxy that we trust about addresses
(`FORWARDED_ALLOW_IPS`) can report a new address each time."""

MOST = 60
"""Wrong tokens from all addresses together within `WITHIN_S`."""


class LoginAttempts:
    """Wrong tokens of the last minute; `of` says in the log what they are."""

    def __init__(self, of: str = "administrator's tokens") -> None:
        self._of = of
        self._wrong: deque[tuple[float, str]] = deque()

    def check(self, address: str) -> None:
        """Raise `Problem` 429 if there were too many wrong tokens, from this address or from all together."""
        now_s = time.monotonic()
        while self._wrong and self._wrong[0][0] < now_s - WITHIN_S:
            self._wrong.popleft()
        if self._count_from(address) >= MOST_PER_ADDRESS or len(self._wrong) >= MOST:
            raise Problem(429, "Too many wrong tokens; wait a minute", headers={"retry-after": "60"})

    def note(self, address: str) -> None:
        """Count a wrong token. Raises `Problem` 429 if there were too many; the token is not counted then."""
        self.check(address)
        self._wrong.append((time.monotonic(), _network(address)))
        if self._count_from(address) == MOST_PER_ADDRESS or len(self._wrong) == MOST:
            log.warning(f"many wrong {self._of}", address=address, within_s=WITHIN_S)

    def _count_from(self, address: str) -> int:
        network = _network(address)
        return sum(other == network for _, other in self._wrong)


def _network(address: str) -> str:
    """Return what identifies a client: its IPv4 address, or its IPv6 network of 2**64 addresses, which one customer usually has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip.packed, 64), strict=False))
