"""Lanes: of the submissions in one lane only one is under way, and how long it may hold the lane.

`storage.submissions.submission_queue.begin_attempts` takes submissions by this condition; the backlog counts by it
(storage/reading/sql_figures.py).
"""

from __future__ import annotations

HELD_MS = 60_000
"""How long a submission whose task has not ended blocks the next one of its lane: an upscale takes seconds, and a button that was
pressed before may never call back. A submission whose task is unknown to its upstream blocks nothing."""

TAKEN = """
    EXISTS (
        SELECT 1 FROM submissions AS other
        WHERE other.lane <> '' AND other.lane = submissions.lane AND other.id <> submissions.id AND (
            other.state = 'sending'
            OR (
                other.state = 'waiting' AND other.run_at_ms <= :now_ms AND (
                    other.queue_at_ms < submissions.queue_at_ms
                    OR (other.queue_at_ms = submissions.queue_at_ms AND other.label < submissions.label)
                )
            )
            OR (
                other.updated_at_ms > :held_since_ms AND (
                    other.state = 'uncertain'
                    OR EXISTS (
                        SELECT 1 FROM tasks
                        WHERE tasks.submission_id = other.id AND tasks.finished_at_ms IS NULL
                          AND (tasks.status <> '' OR tasks.looked_at_ms IS NULL)
                    )
                )
            )
        )
    )
    """
"""A condition of SQL: another submission of the lane is under way, or goes first. `:held_since_ms` is `HELD_MS` before `:now_ms`."""
