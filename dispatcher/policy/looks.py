"""When to look for evidence about an uncertain submission. Pure."""

from __future__ import annotations

FIRST_LOOK_MS = 1_000
"""Time until the first look for a submission; each further pause is twice as long."""

LONGEST_PAUSE_MS = 300_000
"""The longest pause between two looks for one submission."""


def next_look_ms(*, uncertain_since_ms: int, looked_ms: int, looks: int, ended_ms: int, now_ms: int) -> int:
    """When the next look is due, epoch milliseconds: 1, 2, 4 … seconds after the one before, at most five minutes.

    The first one after `ended_ms`, when its request could have ended, is due at once: from then on a list can disprove it.
    """
    if max(looked_ms, uncertain_since_ms) > now_ms:
        return 0  # the clock was set back since
    if not looks:
        return uncertain_since_ms + FIRST_LOOK_MS
    pause_ms: int = min(FIRST_LOOK_MS * 2 ** min(looks - 1, 20), LONGEST_PAUSE_MS)
    next_ms = looked_ms + pause_ms
    return min(next_ms, ended_ms) if looked_ms < ended_ms else next_ms
