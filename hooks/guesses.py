"""How many wrong tokens this process is given, by the form for logging in and by `Authorization: Bearer` alike.

It does not keep the right token out: a stranger who guesses would lock its owner out with him, behind a proxy even
under the same address. So it does not stop guessing either; a token that is long and random does. What it does: guesses
without end cost us next to nothing, the one who mistypes is told to wait, and the log says that somebody tries.
It counts for one process, and forgets at its end.
"""

from __future__ import annotations

import time
from collections import deque

import structlog

from hooks.problems import Problem

log = structlog.get_logger("hookchain")

WITHIN_S = 60.0

MOST_OF_ONE = 10
"""Wrong tokens from one address within `WITHIN_S` that are answered as such. Whoever we believe about addresses
(`FORWARDED_ALLOW_IPS`) can have a new one each time."""

MOST = 60
"""And from all addresses together."""


class Guesses:
    """Wrong tokens of the last minute."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[float, str]] = deque()

    def note(self, address: str) -> None:
        """Count a wrong token. Raises `Problem` 429 when there are too many; it is not counted then."""
        now_s = time.monotonic()
        while self._wrong and self._wrong[0][0] < now_s - WITHIN_S:
            self._wrong.popleft()
        from_there = sum(one == address for _, one in self._wrong)
        if from_there >= MOST_OF_ONE or len(self._wrong) >= MOST:
            raise Problem(429, "too many wrong tokens; wait a minute", headers={"retry-after": "60"})
        self._wrong.append((now_s, address))
        if from_there + 1 == MOST_OF_ONE or len(self._wrong) == MOST:
            log.warning("many wrong administrator's tokens", address=address, within_s=WITHIN_S)
