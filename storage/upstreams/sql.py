"""The statements about upstreams: their standings, their load and their hooks, and whether a copy was restored."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import Standing
from storage.submissions.modal_answers import made_another_task

# Standings.

_STANDING = columns_of(Standing)

ADD = Command(
    f"""
    INSERT INTO upstreams ({_STANDING}) VALUES ({parameters_of(Standing)})
    ON CONFLICT (name) DO NOTHING
    """
)
STANDINGS = Query(f"SELECT {_STANDING} FROM upstreams", Standing)
HOLD = Query(f"SELECT {_STANDING} FROM upstreams WHERE name = :name /*postgresql FOR UPDATE */", Standing)
HOLD_FOR_CLAIM = Query(
    f"""
    SELECT {_STANDING} FROM upstreams
    WHERE name IN (:names)
    ORDER BY name
    /*postgresql FOR UPDATE SKIP LOCKED */
    """,
    Standing,
)
# All columns but those that say whether it is paused.
SAVE_LIMITS = Command(
    """
    UPDATE upstreams
    SET rate_paid_until_us = :rate_paid_until_us, held_until_ms = :held_until_ms, held_ms = :held_ms,
      left_at_ms = :left_at_ms, failures = :failures, open_until_ms = :open_until_ms, open_ms = :open_ms
    WHERE name = :name
    """
)
CLOSE_BREAKER = Command(
    """
    UPDATE upstreams SET failures = 0, open_until_ms = 0, open_ms = 0
    WHERE name = :name AND (failures <> 0 OR open_ms <> 0)
    """
)

# Pauses.

SWITCH = Command(
    """
    UPDATE upstreams SET paused = :paused, pause_reason = '', switched_at_ms = :now_ms
    WHERE name = :name AND paused <> :paused
    """
)
PAUSE = Command(
    """
    UPDATE upstreams SET paused = TRUE, pause_reason = :reason, switched_at_ms = :now_ms
    WHERE name = :name AND NOT paused AND switched_at_ms <= :sent_at_ms
    """
)
REPLACE_REASON = Command(
    "UPDATE upstreams SET pause_reason = :reason WHERE name = :name AND paused AND pause_reason LIKE :pattern"
)

# Our load.


class Loaded(NamedTuple):
    """An upstream, with the number of requests being sent to it, and of jobs."""

    name: str
    requests: int
    jobs: int


_SENDING = """(
      SELECT count(*) FROM submissions
      WHERE submissions.state = 'sending' AND submissions.upstream = upstreams.name
    )"""
_COMING = """(
      SELECT count(*) FROM submissions
      WHERE submissions.state IN ('sending', 'uncertain') AND submissions.upstream = upstreams.name
        AND (submissions.state <> 'uncertain' OR submissions.takes_place) AND submissions.kind <> 'cancel'
    )"""
# A waiting modal takes no place. It takes one as soon as its answer is accepted, although its status changes much later.
_RUNNING = f"""(
      SELECT count(*) FROM tasks
      WHERE tasks.upstream = upstreams.name AND tasks.finished_at_ms IS NULL AND tasks.submission_id IS NOT NULL
        AND (tasks.status <> 'MODAL' OR EXISTS (
          SELECT 1 FROM submissions AS answer
          WHERE answer.parent_id = tasks.id AND answer.upstream = tasks.upstream
            AND answer.kind = 'modal' AND answer.state = 'accepted' AND NOT {made_another_task("answer")}
        ))
    )"""

REQUESTS = Query(f"SELECT name, {_SENDING}, 0 FROM upstreams WHERE name IN (:names)", Loaded)
# In one statement, because with two a submission accepted in between would be counted in neither.
REQUESTS_AND_JOBS = Query(
    f"SELECT name, {_SENDING}, {_RUNNING} + {_COMING} FROM upstreams WHERE name IN (:names)", Loaded
)

# The salts of hooks.


class Salted(NamedTuple):
    """The salts under a key, as JSON."""

    key: str
    salts: str


SALTS = Query("SELECT key, value FROM meta WHERE key IN (:keys)", Salted)
MAKE_SALTS = Command("INSERT INTO meta (key, value) VALUES (:key, :salts) ON CONFLICT (key) DO NOTHING")
HOLD_SALTS = Query("SELECT value FROM meta WHERE key = :key /*postgresql FOR UPDATE */", str)
SAVE_SALTS = Command("UPDATE meta SET value = :salts WHERE key = :key")

# What a restored copy knows.

ANY_SUBMISSION = Query("SELECT id FROM submissions WHERE upstream = :upstream LIMIT 1", str)
# `chain_id` is set in all tasks of ours; it is compared as in the index, so that the index is used.
NEWEST_OF_OURS = Query(
    """
    SELECT id FROM tasks
    WHERE upstream = :upstream AND submission_id IS NOT NULL AND chain_id IS NOT NULL
      AND confirmed AND status NOT IN (:unknown)
    ORDER BY created_at_ms DESC
    LIMIT 1
    """,
    str,
)
