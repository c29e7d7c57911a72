"""Submissions that wait to be sent, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from storage.reading import pages, sql_figures
from storage.reading.keyset import Page
from storage.records import Standing, Submission
from storage.submissions import lanes
from storage.upstreams import standings

Why = Literal["scheduled", "retry", "paused", "held", "lane", "turn"]
"""What a submission waits for: its time; the next try after a failed one; a paused upstream; an upstream whose queue is full, that
asked for a pause, or that does not answer; the submission before it in its lane; its turn."""


def page(
    connection: Connection, *, most: int, before: tuple[int, str] | None = None, upstream: str = ""
) -> Page[Submission]:
    """Waiting submissions by age, newest first."""
    equal = {"state": "waiting"} | ({"upstream": upstream} if upstream else {})
    return pages.submission_page(connection, most=most, before=before, equal=equal)


def reasons(connection: Connection, waiting: Sequence[Submission], now_ms: int) -> dict[str, Why]:
    """What each of these waiting submissions waits for, by its id."""
    ids = [submission.id for submission in waiting]
    held_since_ms = now_ms - lanes.HELD_MS
    in_lanes = sql_figures.IN_LANES.all(connection, ids=ids, now_ms=now_ms, held_since_ms=held_since_ms)
    known = standings.every(connection)
    return {
        submission.id: _why(
            submission, known.get(submission.upstream), now_ms, is_in_lane=submission.id in in_lanes
        )
        for submission in waiting
    }


def _why(submission: Submission, standing: Standing | None, now_ms: int, *, is_in_lane: bool) -> Why:
    if submission.run_at_ms > now_ms:
        return "retry" if submission.attempts else "scheduled"
    if standing is not None and standing.paused:
        return "paused"
    if standing is not None and max(standing.held_until_ms, standing.open_until_ms) > now_ms:
        return "held"
    return "lane" if is_in_lane else "turn"
