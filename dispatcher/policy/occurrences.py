"""What becomes of the times that have come since a rule was last looked at. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatcher.policy.cron_times import CronTime, next_ms

Missed = Literal["skip", "once"]
"""What becomes of times that were missed: nothing, or one firing for all of them."""

GRACE_MS = 5 * 60_000
"""For so long after its time an occurrence is not missed: a restart at nine loses nothing."""

LATE_MS = 3_600_000
"""What was requested for a time, and waits for so long, is not sent any more where missed times are skipped."""

WRONG_CLOCK_MS = 24 * 3600 * 1000
"""What was decided this far in the future was decided by a clock that was wrong. A clock that was set back by less repeats no time."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The time for which the rule fires now (None: it does not), the first time that passed without a firing, and the next time."""

    strike_ms: int | None = None
    missed_ms: int | None = None
    next_ms: int


def decide(at: CronTime, missed: Missed, due_ms: int, now_ms: int) -> Decided:
    """Decide about all times from `due_ms`, the first one that is undecided, until now. The rule fires at most once."""
    if due_ms > now_ms:
        return Decided(next_ms=due_ms)
    strike_ms, moment_ms = None, due_ms
    if due_ms < now_ms - GRACE_MS:
        moment_ms = next_ms(at, now_ms - GRACE_MS - 1)
    while moment_ms <= now_ms:
        strike_ms, moment_ms = moment_ms, next_ms(at, moment_ms)
    if strike_ms is None and missed == "once":
        strike_ms = due_ms
    return Decided(strike_ms=strike_ms, missed_ms=None if strike_ms == due_ms else due_ms, next_ms=moment_ms)


def decide_changed(at: CronTime, missed: Missed, due_ms: int, now_ms: int) -> Decided:
    """Decide about `due_ms`, a time of the former text that has come, for a rule that means the times `at` from now on. It fires if it
    has that time too. No other time before the change is one of the rule."""
    has_it = next_ms(at, due_ms - 1) == due_ms
    fires = has_it and (due_ms >= now_ms - GRACE_MS or missed == "once")
    return Decided(
        strike_ms=due_ms if fires else None,
        missed_ms=None if fires else due_ms,
        next_ms=next_ms(at, now_ms),
    )


def too_late(at: CronTime, missed: Missed, occurrence_ms: int, late_ms: int) -> str:
    """Why what was requested for a time is not sent any more, `late_ms` after it could have been sent first; "" if it is sent."""
    if next_ms(at, occurrence_ms) <= occurrence_ms + late_ms:
        return "the rule's next time has come"
    return "more than an hour has passed" if missed == "skip" and late_ms > LATE_MS else ""


def first_ms(at: CronTime, decided_ms: int, now_ms: int) -> int:
    """The first time that a new or changed text means: after now, and after all that was decided for its rule before."""
    return next_ms(at, now_ms if is_wrong(decided_ms, now_ms) else max(decided_ms, now_ms))


def is_wrong(decided_ms: int, now_ms: int) -> bool:
    """True if a wrong clock has decided this."""
    return decided_ms > now_ms + WRONG_CLOCK_MS
