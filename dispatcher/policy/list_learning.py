"""Learns from each look how an upstream's list behaves. Pure: old knowledge and a list in, new knowledge out."""

from __future__ import annotations

import itertools

import msgspec

from dispatcher.policy.submission_evidence import Listing
from storage.upstreams.list_facts import ListFacts, Order

LAGS_KEPT = 8
"""How many of the latest measured lags count: the list may have become faster since."""

TIMED_WITHIN_MS = 10_000
"""A task that is older than this when the list first shows it does not measure the lag: it may have been listed for long. So
only a quick list has a known lag."""

MISSING_WITHIN_MS = 3_600_000
"""A task that is older than this may be missing because somebody deleted it."""

ENOUGH_IN_ORDER = 3
"""How many of our tasks a list must contain to show how it is sorted."""


def learn(known: ListFacts, listing: Listing) -> ListFacts:
    """Update what is known of an upstream's list after a look at it. One that could not be read as a whole teaches only that it exists."""
    if listing.unread:
        return msgspec.structs.replace(known, is_missing=False)
    lags_ms, timed_until_ms = _timed(known, listing)
    took_ms = max((own.took_ms for own in listing.ours if own.took_ms is not None), default=0)
    return msgspec.structs.replace(
        known,
        is_missing=False,
        order=_order(listing) or known.order,
        lags_ms=lags_ms,
        timed_until_ms=timed_until_ms,
        most_entries=max(known.most_entries, len(listing.tasks)),
        is_cut=_is_cut(known, listing),
        marks=dict(known.marks) | dict(listing.marks_of_kinds),
        slowest_ms=max(known.slowest_ms, took_ms),
    )


def _timed(known: ListFacts, listing: Listing) -> tuple[tuple[int, ...], int]:
    """The lags that are known now. A task that appears for the first time was missing at most since its request; one that has
    not appeared has been missing at least since we know it."""
    lags, until_ms = list(known.lags_ms), known.timed_until_ms
    made = [own for own in listing.ours if own.kind != "modal" and own.known_ms <= listing.asked_ms]
    for own in made:
        if own.began_ms > max(known.timed_until_ms, listing.asked_ms - TIMED_WITHIN_MS) and listing.shows(
            own
        ):
            lags.append(max(0, listing.asked_ms - own.began_ms))
            until_ms = max(until_ms, own.began_ms)
    missing_ms = [
        listing.asked_ms - own.known_ms
        for own in made
        if not own.may_be_gone
        and not listing.shows(own)
        and listing.reaches_ms is not None
        and own.began_ms >= max(listing.reaches_ms, listing.asked_ms - MISSING_WITHIN_MS)
    ]
    longest_ms = max(missing_ms, default=0)
    if longest_ms > max(lags, default=0):  # longer than any lag before
        lags = [longest_ms] * LAGS_KEPT if known.lag_ms is not None else [*lags, longest_ms]
    return tuple(lags[-LAGS_KEPT:]), until_ms


def _order(listing: Listing) -> Order:
    began_ms = {own.task_id: own.began_ms for own in listing.ours if own.kind != "modal"}
    names = [row.id if (row := listing.rows.get(task.id)) else task.id for task in listing.tasks]
    times = [began_ms[name] for name in names if name in began_ms]
    if len(times) < ENOUGH_IN_ORDER:
        return ""
    # Concurrent requests are accepted in any order, so neighbours may be swapped.
    rising = sum(after > before for before, after in itertools.pairwise(times))
    falling = sum(after < before for before, after in itertools.pairwise(times))
    if falling > 3 * rising:
        return "newest first"
    return "oldest first" if rising > 3 * falling else "mixed"


def _is_cut(known: ListFacts, listing: Listing) -> bool:
    """True if the list leaves out its oldest tasks; a list that is longer than ever contradicts that."""
    reaches_ms = listing.reaches_ms
    older = [
        own
        for own in listing.ours
        if reaches_ms is not None and own.known_ms < reaches_ms and not own.may_be_gone
    ]
    if any(not listing.shows(own) for own in older):
        return True
    return known.is_cut and len(listing.tasks) <= known.most_entries
