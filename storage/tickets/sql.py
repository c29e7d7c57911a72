"""The statements about tickets."""

from __future__ import annotations

from typing import NamedTuple

from storage.driver.decoder import columns_of, parameters_of
from storage.driver.statements import Command, Query
from storage.records import INTERRUPTED, MODAL_LOST, Submission, Ticket

_TICKET = columns_of(Ticket)

ADD = Query(
    f"""
    INSERT INTO tickets ({_TICKET}) VALUES ({parameters_of(Ticket)})
    ON CONFLICT (id) DO NOTHING
    RETURNING id
    """,
    str,
)
"""Empty if a ticket already has the id."""

TASK_WITH_ID = Query("SELECT id FROM tasks WHERE upstream IN (:upstreams) AND id = :id LIMIT 1", str)

TICKETS = Query(f"SELECT {_TICKET} FROM tickets WHERE client = :client AND id IN (:ids)", Ticket)
TICKET = Query(f"SELECT {_TICKET} FROM tickets WHERE id = :id", Ticket)
HOLD = Query(
    f"SELECT {_TICKET} FROM tickets WHERE client = :client AND id = :id /*postgresql FOR UPDATE */", Ticket
)
OF_KEY = Query(f"SELECT {_TICKET} FROM tickets WHERE client = :client AND idempotency_key = :key", Ticket)
UNANSWERED = Query(
    f"""
    SELECT {_TICKET} FROM tickets
    WHERE client = :client AND digest = :digest AND answered_at_ms IS NULL AND created_at_ms > :since_ms
    ORDER BY created_at_ms DESC LIMIT 1
    """,
    Ticket,
)
OF_BUTTON = Query(
    f"""
    SELECT {_TICKET} FROM tickets
    WHERE parent_id = :parent_id AND client = :client AND upstream = :upstream AND custom_id = :custom_id
    ORDER BY created_at_ms
    """,
    Ticket,
)
NEWEST = Query(
    f"""
    SELECT {_TICKET} FROM tickets
    WHERE client = :client AND (created_at_ms < :before_ms OR (created_at_ms = :before_ms AND id < :before_id))
    ORDER BY created_at_ms DESC, id DESC LIMIT :most
    """,
    Ticket,
)
OPEN = Query(
    f"""
    SELECT {_TICKET} FROM tickets
    WHERE client = :client AND ended_at_ms IS NULL
    ORDER BY created_at_ms LIMIT :most
    """,
    Ticket,
)
COUNT_SINCE = Query("SELECT count(*) FROM tickets WHERE client = :client AND created_at_ms > :since_ms", int)
COUNT_OPEN = Query("SELECT count(*) FROM tickets WHERE client = :client AND ended_at_ms IS NULL", int)
AMONG = Query(f"SELECT {_TICKET} FROM tickets WHERE id IN (:ids)", Ticket)
ANSWERED = Command(
    "UPDATE tickets SET answered_at_ms = :now_ms WHERE id IN (:ids) AND answered_at_ms IS NULL"
)
TO_WINDOW = Command("UPDATE tickets SET is_window = TRUE WHERE id = :id AND ended_at_ms IS NULL")
ANSWER_WINDOW = Command(
    """
    UPDATE tickets SET is_window = FALSE, submission_id = :submission_id, answer = :answer
    WHERE id = :id AND is_window
    """
)
END = Command(
    """
    UPDATE tickets SET ended_at_ms = :now_ms, fail_reason = :fail_reason, is_window = FALSE
    WHERE id IN (:ids) AND ended_at_ms IS NULL
    """
)
TELL = Command("UPDATE tickets SET told_status = :status, told_progress = :progress WHERE id = :id")
OWNERS = Query("SELECT DISTINCT client FROM tickets WHERE task_id = :task_id AND upstream = :upstream", str)
BEGAN_BY = Query(
    """
    SELECT chains.client FROM tasks JOIN chains ON chains.id = tasks.chain_id
    WHERE tasks.upstream = :upstream AND tasks.id = :task_id AND chains.client <> ''
    UNION ALL
    SELECT chains.client FROM events
    JOIN submissions ON submissions.id = events.submission_id
    JOIN chains ON chains.id = submissions.chain_id
    WHERE events.upstream = :upstream AND events.task_id = :task_id AND events.submission_id <> '' AND chains.client <> ''
    LIMIT 1
    """,
    str,
)
"""The client whose order began the chain of a task; also of a task whose callback came before the answer that names it."""
OWNERS_OF_SUBMISSION = Query("SELECT DISTINCT client FROM tickets WHERE submission_id = :submission_id", str)

# What is known of tickets.


class Answering(NamedTuple):
    """The newest answer to a modal that a submission opened: storage/submissions/modals.py says when there are several."""

    opened_by: str
    id: str


class LastAnswer(NamedTuple):
    """The upstream's answer to the last attempt of a submission."""

    submission_id: str
    answer: bytes


class Place(NamedTuple):
    """An event's submissions and its chain's client: the submission that it is about, the one that made its task, and the one that
    opened the modal which that one answered. `asked_by`: who asked for the first."""

    event_id: int
    about: str
    made_by: str
    opened_by: str
    client: str
    asked_by: str


SUBMISSIONS = Query(
    f"SELECT {columns_of(Submission, 'submissions')} FROM submissions WHERE id IN (:ids)", Submission
)
ANSWERS_TO_MODALS = Query(
    f"""
    SELECT tasks.submission_id, answer.id
    FROM tasks
    JOIN submissions AS answer ON answer.parent_id = tasks.id AND answer.upstream = tasks.upstream
      AND answer.kind = 'modal' AND answer.outcome <> '{MODAL_LOST}'
    WHERE tasks.submission_id IN (:ids)
    ORDER BY answer.created_at_ms
    """,
    Answering,
)
LAST_ANSWERS = Query(
    """
    SELECT submission_id, answer FROM attempts
    WHERE submission_id IN (:ids)
      AND number = (SELECT max(number) FROM attempts AS later WHERE later.submission_id = attempts.submission_id)
    """,
    LastAnswer,
)
OPEN_TICKETS_OF = Query(
    f"SELECT {_TICKET} FROM tickets WHERE submission_id IN (:submission_ids) AND submission_id <> ''", Ticket
)
TICKETS_OF_TASKS = Query(
    f"SELECT {_TICKET} FROM tickets WHERE task_id IN (:task_ids) AND task_id <> ''", Ticket
)
TIE = Command(
    """
    UPDATE tickets SET task_id = :task_id, upstream = :upstream
    WHERE submission_id = :submission_id AND submission_id <> '' AND task_id = ''
    """
)
OPEN_AFTER = Query(
    f"""
    SELECT {_TICKET} FROM tickets
    WHERE ended_at_ms IS NULL AND created_at_ms >= :after_ms AND created_at_ms < :before_ms
      AND (created_at_ms > :after_ms OR id > :after_id)
    ORDER BY created_at_ms, id LIMIT :most
    """,
    Ticket,
)

FIRST_OF_CHAIN = Query(
    f"""
    SELECT {columns_of(Ticket, "tickets")} FROM tickets
    JOIN submissions ON submissions.id = tickets.submission_id
    WHERE submissions.chain_id = :chain_id AND tickets.client = :client
    ORDER BY tickets.created_at_ms LIMIT 1
    """,
    Ticket,
)

# Retention. A ticket with an Idempotency-Key stays: its key means the same order for ever.
DROP_OLD = Query(
    """
    DELETE FROM tickets WHERE id IN (
        SELECT id FROM tickets WHERE ended_at_ms < :before_ms AND idempotency_key = '' ORDER BY ended_at_ms LIMIT :most
    )
    RETURNING id
    """,
    str,
)

# Who hears an event.

PLACES = Query(
    """
    SELECT events.id, events.submission_id, coalesce(tasks.submission_id, ''),
      coalesce(answered.submission_id, opened.submission_id, ''),
      coalesce(chains.client, ''), coalesce(about.asked_by, '')
    FROM events
    LEFT JOIN tasks ON tasks.upstream = events.upstream AND tasks.id = events.task_id
    LEFT JOIN submissions AS about ON about.id = events.submission_id
    LEFT JOIN submissions AS maker ON maker.id = coalesce(tasks.submission_id, events.submission_id)
    LEFT JOIN tasks AS opened ON maker.kind = 'modal' AND opened.upstream = maker.upstream AND opened.id = maker.parent_id
    LEFT JOIN tasks AS answered ON about.kind = 'modal' AND answered.upstream = about.upstream AND answered.id = about.parent_id
    LEFT JOIN chains ON chains.id = coalesce(about.chain_id, tasks.chain_id)
    WHERE events.id IN (:ids)
    """,
    Place,
)

# Orders that move to another account.


class Busy(NamedTuple):
    """How many submissions of ours wait, are being sent, or have a task that has not ended, at an upstream."""

    name: str
    submissions: int


ROOT_UPSTREAMS = Query("SELECT upstream FROM submissions WHERE chain_id = :chain_id AND parent_id = ''", str)
SIGN_OF_LIFE = Query(
    f"""
    SELECT submission_id FROM attempts
    WHERE submission_id = :id AND number <> :number AND outcome IN ('sending', 'uncertain', '{INTERRUPTED}')
    UNION ALL SELECT id FROM tasks WHERE submission_id = :id
    UNION ALL SELECT submission_id FROM events WHERE submission_id = :id AND submission_id <> '' AND source = 'callback'
    LIMIT 1
    """,
    str,
)
"""An attempt without a clear answer, a task of its own, or a callback on its hook."""
MOVE_TICKETS = Command(
    "UPDATE tickets SET submission_id = :new_id, upstream = :upstream WHERE submission_id = :old_id"
)
MOVE_CHAIN = Command("UPDATE chains SET upstream = :upstream WHERE id = :chain_id")
_STOPPED = """
    SELECT name FROM upstreams
    WHERE paused OR (held_until_ms > :now_ms AND held_until_ms <= :now_ms + held_ms)
      OR (open_until_ms > :now_ms AND open_until_ms <= :now_ms + open_ms)
"""
STOPPED = Query(_STOPPED, str)
DECIDABLE = Query(
    f"""
    SELECT {columns_of(Ticket, "tickets")} FROM tickets
    LEFT JOIN submissions ON submissions.id = tickets.submission_id
    WHERE tickets.id IN (:ids) AND (
      submissions.id IS NULL OR tickets.fail_reason <> '' OR submissions.state NOT IN ('waiting', 'sending')
      OR (submissions.state = 'waiting' AND (submissions.attempts > 0 OR submissions.upstream IN ({_STOPPED})))
    )
    """,
    Ticket,
)
BUSY = Query(
    """
    SELECT upstream, count(*) FROM submissions
    WHERE state IN ('waiting', 'sending', 'uncertain') AND upstream IN (:names)
    GROUP BY upstream
    """,
    Busy,
)

# Seeds.

SEED = Query("SELECT seed FROM seeds WHERE upstream = :upstream AND task_id = :task_id", str)
KEEP_SEED = Command(
    "INSERT INTO seeds (upstream, task_id, seed) VALUES (:upstream, :task_id, :seed) ON CONFLICT DO NOTHING"
)
