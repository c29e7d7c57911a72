"""How long to wait before the next try. Pure."""

from __future__ import annotations


def delay_s(attempt: int, *, first_s: float = 2.0, ceiling_s: float = 3600.0) -> float:
    """Seconds to wait after failed `attempt` (1 is the first): 2, 4, 8 … up to an hour, before jitter."""
    # The exponent is bounded so that attempt 2000 does not overflow.
    return min(first_s * 2.0 ** min(attempt - 1, 60), ceiling_s)


def jittered_ms(delay: float, *, luck: float) -> int:
    """Convert `delay` seconds to milliseconds, varied by up to 20% either way; `luck` is a random number in [0, 1).

    With 0 the result is 0.8 of the delay, with 0.5 the delay itself.
    """
    return int(delay * 1000 * (0.8 + 0.4 * luck))
