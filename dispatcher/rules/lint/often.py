"""Rules that run by the clock more often than their author probably means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dispatcher.policy.cron_times import cron_time, times_a_day
from dispatcher.rules.lint.caution import Caution, Subject

OFTEN = 24
"""More times a day than this are probably a slip: a `*` in the place of the minute."""

_PAID = ("imagine", "blend", "describe", "shorten")
_FROM_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


def often(subject: Subject) -> Iterator[Caution]:
    """A paid submission each minute, or each quarter of an hour."""
    rule = subject.rule
    paid = [key for key in _PAID if getattr(rule, key)]
    if not rule.every or not paid:
        return
    times = times_a_day(cron_time(rule.every), _FROM_MS)
    if times > OFTEN:
        yield Caution(
            kind="again",
            key="every",
            problem=f"it fires {times} times a day, and each {paid[0]} is paid for",
            remedy=f'If you mean once an hour, write "0 {" ".join(rule.every.split()[1:])}"; otherwise limit it with [[budgets]].',
        )


def either_day(subject: Subject) -> Iterator[Caution]:
    """A day of the month and a day of the week: as in cron, one of them is enough."""
    if not subject.rule.every:
        return
    day, weekday = (cron_time(subject.rule.every).fields.split()[at] for at in (2, 4))
    if not (day.startswith("*") or weekday.startswith("*")):
        yield Caution(
            kind="again",
            key="every",
            problem="it fires on these days of the month, and on these days of the week too: either is enough",
            remedy='Write * for one of them; "mon#1" is the first Monday of the month.',
        )
