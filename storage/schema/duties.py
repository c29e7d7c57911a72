"""Tables of durable work: submissions and deliveries, with the constraints that make each happen once."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from storage.schema.names import AUTOMATIC, metadata, partial, serial

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
    # Submissions in the same lane go one after the other; "" means no lane.
    Column("lane", String, nullable=False),
    Column("priority", Integer, nullable=False),
    # The position in the queue: see storage/submissions/submission_queue.py.
    Column("queue_at_ms", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("task_ids", Text, nullable=False),  # JSON array
    # The worker that sends it: see storage/workers/leases.py.
    Column("worker", String, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False),
    # Attempts that do not count: those made before a person retried it, and those whose request never left.
    Column("forgiven", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),  # how often the same intent was requested again
    Column("run_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    # What is pressed, if that has an identity apart from its task.
    Column("thing", String, nullable=False, server_default=""),
    Column("client", String, nullable=False, server_default=""),  # the program that requested it, by its key
    Column("user", String, nullable=False, server_default=""),  # the person who requested it, by name
    # The budgets that it is charged to: storage/budgets/counters.py.
    Column("charges", Text, nullable=False, server_default=""),
    Column("counted", Boolean, nullable=False, server_default=false()),  # true while it is charged
    Column("mode", String, nullable=False, server_default=""),  # the speed mode, of those of its dialect
    # The decision about it, if it needs one.
    Column("approval_id", String, nullable=False, server_default=""),
    # For uncertain submissions: it may occupy one of the upstream's job places.
    Column("takes_place", Boolean, nullable=False, server_default=true()),
    # The joins that it follows from, as words: storage/joins/follows.py.
    Column("follows", String, nullable=False, server_default=""),
    # Whoever scheduled it is asked again by these before each attempt, and last agreed then: storage/submissions/scheduled.py.
    Column("terms", Text),
    Column("cleared_at_ms", BigInteger),
    UniqueConstraint("idempotency_key", name="one_submission_per_intent"),
    Index("submissions_of_chain", "chain_id"),
    Index("submissions_by_state", "state", "upstream"),
    Index("submissions_by_hour", "upstream", "created_at_ms"),
    partial("submissions_of_rules", "upstream", "created_at_ms", where=AUTOMATIC),
    Index("submissions_by_age", "created_at_ms", "id"),
    Index("submissions_of_parent", "parent_id", "upstream", "created_at_ms"),
    partial("submissions_waiting", "upstream", "queue_at_ms", where="state = 'waiting'"),
    partial("submissions_scheduled", "run_at_ms", where="state = 'waiting' AND terms IS NOT NULL"),
    partial("submissions_in_lane", "lane", where="lane <> ''"),
    partial("submissions_of_approval", "approval_id", where="approval_id <> ''"),
    partial("one_press_per_thing", "chain_id", "thing", where="thing <> ''", unique=True),
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
    Column("id", serial, primary_key=True, autoincrement=True),
    Column("event_id", BigInteger, nullable=False),
    Column("receiver", String, nullable=False),
    Column("lane", String, nullable=False),  # the task: a receiver gets a task's events in order
    Column("state", String, nullable=False),
    Column("worker", String, nullable=False, server_default=""),  # its worker: see storage/workers/leases.py
    Column("attempts", Integer, nullable=False),
    Column("excused", Integer, nullable=False),  # attempts whose failure was not the receiver's fault
    Column("forgiven", Integer, nullable=False, server_default="0"),  # attempts before a manual retry
    # See storage/deliveries/suspects.py.
    Column("suspected", Boolean, nullable=False, server_default=false()),
    Column("deaths", Integer, nullable=False, server_default="0"),  # processes that died while it ran alone
    Column("run_at_ms", BigInteger, nullable=False),
    Column("fired", Boolean, nullable=False),
    Column("decision", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("event_id", "receiver", name="one_delivery_per_receiver"),
    Index("deliveries_by_state", "state", "run_at_ms"),
    partial("deliveries_in_lane", "receiver", "lane", "id", where="state IN ('waiting', 'running')"),
    partial("deliveries_suspected", "receiver", where="suspected AND state IN ('waiting', 'running')"),
)

firings = Table(
    "firings",
    metadata,
    Column("receiver", String, nullable=False),
    Column("scope", String, nullable=False),  # "chain:…", "task:…", "root:…"
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("receiver", "scope"),
)

# Chains, and tasks with children, that may have come to rest: see storage/joins/looking.py.
joins = Table(
    "joins",
    metadata,
    Column("chain_id", String, nullable=False),
    Column("task_id", String, nullable=False),  # "" for the chain as a whole
    Column("look_at_ms", BigInteger),  # null: nothing has happened since the last look
    Column("looks", Integer, nullable=False),  # looks in vain since something happened
    Column("given", Integer, nullable=False),  # how often its signal was given
    Column("shown", String, nullable=False),  # digest of what had ended then
    PrimaryKeyConstraint("chain_id", "task_id"),
    partial("joins_to_look_at", "look_at_ms", where="look_at_ms IS NOT NULL"),
)

# Intents whose submission was deleted with its chain.
spent = Table(
    "spent",
    metadata,
    Column("idempotency_key", String, primary_key=True),
    Column("submission_id", String, nullable=False),
    Index("spent_by_submission", "submission_id"),
)
