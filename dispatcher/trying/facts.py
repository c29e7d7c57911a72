"""What a trial is fed with: facts in their order, and what each becomes in its database. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from storage.events.event_log import NewEvent
from storage.reading.facts import Requested
from storage.records import Approval, ClaimedDelivery, Event, Staged, Submission
from storage.submissions.settlements import Settlement

Fact = ClaimedDelivery | Requested | Approval


def merged(
    events: Iterable[ClaimedDelivery],
    requested: Iterable[Requested],
    decided: Iterable[Approval],
    struck: Iterable[ClaimedDelivery] = (),
) -> Iterator[tuple[int, Fact]]:
    """All facts with their times, oldest first. Of one moment, requests come before decisions, these before events, and `struck`, the times of
    rules that run by the clock, last."""
    asked: Iterator[tuple[int, Fact]] = ((one.submission.created_at_ms, one) for one in requested)
    settled: Iterator[tuple[int, Fact]] = ((one.decided_at_ms or 0, one) for one in decided)
    happened: Iterator[tuple[int, Fact]] = _in_order(events)
    times: Iterator[tuple[int, Fact]] = ((one.event.received_at_ms, one) for one in struck)
    return heapq.merge(asked, settled, happened, times, key=lambda one: one[0])


def _in_order(events: Iterable[ClaimedDelivery]) -> Iterator[tuple[int, Fact]]:
    """Events in the order of their ids, each no earlier than the one before: a clock may have been set back."""
    now_ms = 0
    for claimed in events:
        now_ms = max(now_ms, claimed.event.received_at_ms)
        yield now_ms, claimed


def staged(fact: Requested) -> Staged:
    """The request of somebody else, as it was made."""
    one = fact.submission
    began_ms = one.started_at_ms if one.attempts and one.started_at_ms else one.run_at_ms
    return Staged(
        idempotency_key=one.idempotency_key,
        chain_id=one.chain_id,
        upstream=one.upstream,
        kind=one.kind,
        label=one.label,
        request=one.request,
        parent_id=one.parent_id,
        depth=one.depth,
        asked_by=one.asked_by,
        lane=one.lane,
        priority=one.priority,
        delay_ms=max(0, began_ms - one.created_at_ms),
        thing=fact.thing,
        client=fact.client,
        user=fact.user,
        mode=one.mode,
        follows=fact.follows,
    )


def settlement(real: Submission, event: Event) -> Settlement:
    """The recorded answer to a request."""
    return Settlement(
        state=real.state,
        outcome=event.status,
        reason=event.detail,
        task_ids=real.task_ids,
        signal=event.signal,
        answer=event.payload,
        child_status="MODAL" if real.state == "needs_modal" else "",
        child_action=event.action,
    )


def new_event(event: Event, wanted: frozenset[str]) -> NewEvent:
    """A recorded event, to be appended again."""
    return NewEvent(
        upstream=event.upstream,
        task_id=event.task_id,
        submission_id=event.submission_id,
        source=event.source,
        signal=event.signal,
        action=event.action,
        status=event.status,
        progress=event.progress,
        advanced=event.advanced,
        pending=event.signal in wanted,
        detail=event.detail,
        payload=event.payload,
        received_at_ms=event.received_at_ms,
        provenance=event.provenance or "internal",
    )


def ended_before(fact: ClaimedDelivery) -> int | None:
    """When the task of an event had ended, if it had by then."""
    ended_ms = fact.task.finished_at_ms if fact.task is not None else None
    return ended_ms if ended_ms is not None and ended_ms <= fact.event.received_at_ms else None
