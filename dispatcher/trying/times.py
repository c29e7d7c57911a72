"""The times of rules that run by the clock, as events, to try such rules on a time in which they did not exist."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from dispatcher.plugins.upstream_handle import UpstreamHandle
from dispatcher.policy.cron_times import cron_time, next_ms
from dispatcher.rules.compile import CompiledRule
from dispatcher.trying.report import moment
from storage.records import STRUCK, ClaimedDelivery, Delivery, Event
from storage.timetable.occurrences import time_text

MOST = 2_000
"""The most times of one rule that the rules page tries it on: more than one an hour for 30 days, or one a minute for a day."""

MOST_ALONE = 50_000
"""As many for a command, which nobody else waits for: one a minute for 30 days."""

Tell = Callable[[str], None]
"""Notes what a trial does not know."""


def occurrences_of(
    rules: Sequence[CompiledRule],
    handles: Mapping[str, UpstreamHandle],
    since_ms: int,
    until_ms: int,
    *,
    most: int,
    tell: Tell,
) -> Iterator[ClaimedDelivery]:
    """The times of the rules that run by the clock, after `since_ms` and up to `until_ms`, oldest first; of each rule at most `most`. `tell`
    is told which rules have more."""
    clocked = [rule for rule in rules if rule.rule.every and rule.rule.enabled]
    times = (_times(rule, handles, since_ms, until_ms, most=most, tell=tell) for rule in clocked)
    return heapq.merge(*times, key=lambda one: one.event.received_at_ms)


def _times(
    compiled: CompiledRule,
    handles: Mapping[str, UpstreamHandle],
    since_ms: int,
    until_ms: int,
    *,
    most: int,
    tell: Tell,
) -> Iterator[ClaimedDelivery]:
    rule = compiled.rule
    upstream = rule.upstream or next(iter(handles))
    at = cron_time(rule.every, zone=handles[upstream].zone)
    moment_ms = next_ms(at, since_ms)
    for _ in range(most):
        if moment_ms > until_ms:
            return
        yield _occurrence(rule.name, upstream, moment_ms)
        moment_ms = next_ms(at, moment_ms)
    if moment_ms <= until_ms:
        tell(
            f"what the rule {rule.name} would have done from {moment(moment_ms)} on: "
            f"only its first {most} times were tried"
        )


def _occurrence(rule: str, upstream: str, at_ms: int) -> ClaimedDelivery:
    event = Event(
        id=0,
        upstream=upstream,
        task_id="",
        submission_id="",
        source="internal",
        signal=STRUCK,
        action=rule,
        status=time_text(at_ms),
        progress=None,
        advanced=False,
        detail="",
        payload=b"",
        received_at_ms=at_ms,
        generation=0,
    )
    delivery = Delivery(
        id=0,
        event_id=0,
        receiver="",
        lane="",
        state="running",
        attempts=1,
        excused=0,
        run_at_ms=0,
        fired=False,
        decision="",
        error="",
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
    )
    return ClaimedDelivery(
        delivery=delivery,
        event=event,
        task=None,
        chain=None,
        submission=None,
        latest=b"",
        parent=b"",
    )
