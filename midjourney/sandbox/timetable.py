"""How long each kind of work takes, and the progress that it reports.

The steps are those of a v6 imagine in fast mode and of a U upscale (real traffic of Plus, Jan-Feb 2024). The durations are
shortened to a pace that is pleasant to watch.
"""

from __future__ import annotations

import msgspec

DURATION_MS = {
    "imagine": 6000,
    "blend": 6000,
    "edit": 6000,
    "video": 6000,
    "swap": 2000,
    "clip": 800,
    "variation": 4000,
    "inpaint": 4000,
    "zoom": 5000,
    "pan": 5000,
    "upscale": 800,
    "enhance": 4000,
    "describe": 1500,
    "shorten": 1000,
}
"""Milliseconds from start to end, at speed 1."""

FAILURE_MS = 400
"""Milliseconds until a refused prompt fails: the real "Invalid parameter" came 0.4 s after the submit."""

TIMEOUT_MS = 300_000
"""Milliseconds until a server gives up a task to which Midjourney does not respond: `timeoutMinutes` is 5 by default, and is
checked every 30 s (novicezk and Plus: `TaskTimeoutSchedule.java`; trueai: `DiscordService.cs`, line 2617)."""

_LONG = (
    (0.05, 0),
    (0.08, 0),
    (0.11, 0),
    (0.2, 15),
    (0.33, 31),
    (0.46, 46),
    (0.59, 62),
    (0.72, 78),
    (0.85, 93),
)
_SHORT = ((0.4, 0),)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a running task. `after_ms`: milliseconds after its start."""

    after_ms: float
    status: str
    percent: int


def steps(work: str, *, fails: bool, speed: float, is_unanswered: bool = False) -> list[Step]:
    """All changes of a task after SUBMITTED. The last one ends it."""
    if is_unanswered:
        return [Step(after_ms=TIMEOUT_MS / speed, status="FAILURE", percent=0)]
    if fails:
        return [Step(after_ms=FAILURE_MS / speed, status="FAILURE", percent=0)]
    duration = DURATION_MS[work] / speed
    progress = _SHORT if work in ("upscale", "clip", "swap", "describe", "shorten") else _LONG
    running = [
        Step(after_ms=duration * part, status="IN_PROGRESS", percent=percent) for part, percent in progress
    ]
    return [*running, Step(after_ms=duration, status="SUCCESS", percent=100)]
