"""Tables and indexes, and the uniqueness that the promises rest on.

Two constraints carry them: a delivery is unique by (event, receiver), and a submission by its idempotency key, for
ever. Times are epoch milliseconds. States are words; each set is written once, in `storage/records.py`.

On PostgreSQL the tables live in a schema of their own, so that other programs may use the same database, and statements
name it (`hookchain_data.tasks`): `storage/postgres.py` sees to that when a statement is compiled.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA = "hookchain_data"
"""Not "hookchain": a role of that name finds a schema of its own name before all others (PostgreSQL's default
search_path is "$user", public), and so would every other program that connects as that role."""

metadata = MetaData()

# SQLite gives out row ids only for INTEGER PRIMARY KEY.
_serial = BigInteger().with_variant(Integer, "sqlite")


def _partial(name: str, *columns: str, where: str) -> Index:
    """An index of the few rows that a question is about."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("upstream", String, nullable=False),
    Column("task_id", String, nullable=False),  # "" for an answer that speaks of no task
    Column("submission_id", String, nullable=False),  # "" where none is known
    Column("source", String, nullable=False),
    Column("signal", String),  # null: it changed nothing that anybody could listen for
    Column("action", String, nullable=False),
    Column("status", String, nullable=False),
    Column("progress", Integer),
    Column("advanced", Boolean, nullable=False),  # it moved its task
    Column("pending", Boolean, nullable=False),  # waits to be fanned out
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="0"),  # see storage/replay.py
    Index("events_of_task", "upstream", "task_id", "id"),
    _partial("events_of_submission", "submission_id", where="submission_id <> ''"),
    Index("events_pending", "id", sqlite_where=text("pending = 1"), postgresql_where=text("pending")),
)

tasks = Table(
    "tasks",
    metadata,
    Column("upstream", String, nullable=False),
    Column("id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("action", String, nullable=False),
    Column("chain_id", String),  # null until somebody needs the chain of a task that is not ours
    Column("submission_id", String),
    Column("parent_id", String, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("looked_at_ms", BigInteger),  # when the upstream was last asked about it
    Column("misses", Integer, nullable=False),  # times in a row that it did not know it
    Column("prompt", Text, nullable=False, server_default=""),  # its beginning, to be looked for
    PrimaryKeyConstraint("upstream", "id"),
    _partial("tasks_of_chain", "chain_id", where="chain_id IS NOT NULL"),
    _partial("tasks_of_submission", "submission_id", where="submission_id IS NOT NULL"),
    Index("tasks_by_age", "created_at_ms", "id"),
    _partial("tasks_unchained", "created_at_ms", "id", where="chain_id IS NULL"),
    _partial("tasks_open", "upstream", "updated_at_ms", where="finished_at_ms IS NULL"),
)

chains = Table(
    "chains",
    metadata,
    Column("id", String, primary_key=True),
    Column("upstream", String, nullable=False),
    Column("root_task_id", String, nullable=False),  # "" until the root submission is accepted
    Column("submissions", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("prompt", Text, nullable=False, server_default=""),  # its root's
    Index("chains_by_age", "created_at_ms", "id"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", String, primary_key=True),
    Column("idempotency_key", String, nullable=False),
    Column("chain_id", String, nullable=False),
    Column("upstream", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("label", String, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("parent_id", String, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("lane", String, nullable=False),  # one after the other within it; "" for any time
    Column("priority", Integer, nullable=False),
    Column("queue_at_ms", BigInteger, nullable=False),  # its place: see storage/submissions.py
    Column("state", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("task_ids", Text, nullable=False),  # JSON array
    Column("worker", String, nullable=False, server_default=""),  # who sends it, see storage/leases.py
    Column("attempts", Integer, nullable=False),
    Column("forgiven", Integer, nullable=False),  # attempts before it was retried by hand
    Column("repeats", Integer, nullable=False),  # how often the intent was asked for again
    Column("run_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("idempotency_key", name="one_submission_per_intent"),
    Index("submissions_of_chain", "chain_id"),
    Index("submissions_by_state", "state", "run_at_ms"),
    Index("submissions_by_hour", "upstream", "created_at_ms"),
    Index("submissions_by_age", "created_at_ms", "id"),
    Index("submissions_of_parent", "parent_id"),
    _partial("submissions_waiting", "upstream", "queue_at_ms", where="state = 'waiting'"),
    _partial("submissions_in_lane", "lane", where="lane <> ''"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("submission_id", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("http_status", Integer),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    PrimaryKeyConstraint("submission_id", "number"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("event_id", BigInteger, nullable=False),
    Column("receiver", String, nullable=False),
    Column("lane", String, nullable=False),  # its task: a receiver hears of a task's events in order
    Column("state", String, nullable=False),
    Column("worker", String, nullable=False, server_default=""),  # who runs it, see storage/leases.py
    Column("attempts", Integer, nullable=False),
    Column("excused", Integer, nullable=False),  # attempts that ended through no fault of the receiver's
    Column("run_at_ms", BigInteger, nullable=False),
    Column("fired", Boolean, nullable=False),
    Column("decision", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("event_id", "receiver", name="one_delivery_per_receiver"),
    Index("deliveries_by_state", "state", "run_at_ms"),
    _partial("deliveries_in_lane", "receiver", "lane", "id", where="state IN ('waiting', 'running')"),
)

firings = Table(
    "firings",
    metadata,
    Column("receiver", String, nullable=False),
    Column("scope", String, nullable=False),  # "chain:…", "task:…", "root:…"
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("receiver", "scope"),
)

spent = Table(  # intents whose submission has gone with its chain
    "spent",
    metadata,
    Column("idempotency_key", String, primary_key=True),
    Column("submission_id", String, nullable=False),
)

upstreams = Table(  # what all processes must agree on
    "upstreams",
    metadata,
    Column("name", String, primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("rate_paid_until_us", BigInteger, nullable=False),
    Column("held_until_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("open_until_ms", BigInteger, nullable=False),
    Column("open_ms", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("upstream", String, nullable=False),
    Column("submission_id", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # no id is given again: a person drops what he has read, and not the next one
)

traffic = Table(  # what all processes counted, see storage/meter.py
    "traffic",
    metadata,
    Column("minute_ms", BigInteger, nullable=False),  # when the minute began
    Column("series", String, nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("total_us", BigInteger, nullable=False),  # a callback takes about a millisecond
    Column("slowest_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("minute_ms", "series"),
)

__all__ = [
    "SCHEMA",
    "attempts",
    "chains",
    "deliveries",
    "events",
    "firings",
    "leases",
    "meta",
    "metadata",
    "quarantine",
    "spent",
    "submissions",
    "tasks",
    "traffic",
    "upstreams",
]
