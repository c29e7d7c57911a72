"""The statements about the timetable, and the one that appends an occurrence."""

from __future__ import annotations

from storage.driver.statements import Command, Query
from storage.records import Timed

EVERY = Query("SELECT rule, every, decided_ms, next_ms FROM timetable ORDER BY rule", Timed)
ADD = Command(
    """
    INSERT INTO timetable (rule, every, decided_ms, next_ms) VALUES (:rule, :every, :decided_ms, :next_ms)
    ON CONFLICT (rule) DO NOTHING
    """
)
# Of two processes that read the same row, one moves it.
MOVE = Command(
    """
    UPDATE timetable SET every = :every, decided_ms = :decided_ms, next_ms = :next_ms
    WHERE rule = :rule AND every = :seen_every AND decided_ms = :seen_decided_ms
    """
)
# It has its deliveries already, and is not fanned out: another process may have other rules.
STRIKE = Query(
    """
    INSERT INTO events (
      upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload,
      received_at_ms, generation, provenance
    ) VALUES (
      :upstream, '', '', 'internal', :signal, :rule, :status, NULL, FALSE, FALSE, :detail, :payload, :now_ms, 0, 'internal'
    )
    RETURNING id
    """,
    int,
)
