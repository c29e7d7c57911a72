"""Tables of facts: what senders and upstreams report about tasks, and which callbacks were refused."""

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
    false,
    text,
    true,
)

from storage.schema.names import metadata, partial, serial

events = Table(
    "events",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    Column("upstream", String, nullable=False),
    Column("task_id", String, nullable=False),  # "" for an answer without a task
    Column("submission_id", String, nullable=False),  # "" if unknown
    Column("source", String, nullable=False),
    Column("signal", String),  # null: it changed nothing that has a signal
    Column("action", String, nullable=False),
    Column("status", String, nullable=False),
    Column("progress", Integer),
    Column("advanced", Boolean, nullable=False),  # it moved its task
    Column("pending", Boolean, nullable=False),  # not yet fanned out to receivers
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="0"),  # see storage/events/replay.py
    Column("provenance", String, nullable=False, server_default=""),  # "": follows from the source
    # On the task's id alone, because two upstreams rarely use the same id.
    Index("events_of_task", "task_id", "id"),
    Index(
        "events_advanced",
        "task_id",
        "id",
        sqlite_where=text("advanced = 1"),
        postgresql_where=text("advanced"),
    ),
    partial("events_of_submission", "submission_id", where="submission_id <> ''"),
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
    Column("chain_id", String),  # null while a task that we did not submit needs no chain
    Column("submission_id", String),
    Column("parent_id", String, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("looked_at_ms", BigInteger),  # when the upstream was last polled about it
    Column("misses", Integer, nullable=False),  # consecutive polls in which the upstream did not know it
    Column("prompt", Text, nullable=False, server_default=""),  # the beginning of the prompt, for searches
    Column("confirmed", Boolean, nullable=False, server_default=true()),  # the upstream confirmed the status
    Column("ask_at_ms", BigInteger),  # when to poll about it although it has ended; null: never
    Column("made_by", String, nullable=False, server_default=""),  # the button on its parent
    Column("shown", String, nullable=False, server_default=""),  # digest of its buttons, images and texts
    PrimaryKeyConstraint("upstream", "id"),
    partial("tasks_of_chain", "chain_id", where="chain_id IS NOT NULL"),
    partial("tasks_of_submission", "submission_id", where="submission_id IS NOT NULL"),
    partial("tasks_in_chains", "upstream", "created_at_ms", where="chain_id IS NOT NULL"),
    Index("tasks_by_age", "created_at_ms", "id"),
    partial("tasks_unchained", "created_at_ms", "id", where="chain_id IS NULL"),
    partial("tasks_open", "upstream", "updated_at_ms", where="finished_at_ms IS NULL"),
    partial("tasks_to_ask", "upstream", "ask_at_ms", where="ask_at_ms IS NOT NULL"),
    partial(
        "tasks_pressed_elsewhere", "parent_id", "upstream", where="made_by <> '' AND submission_id IS NULL"
    ),
)

chains = Table(
    "chains",
    metadata,
    Column("id", String, primary_key=True),
    Column("upstream", String, nullable=False),
    Column("root_task_id", String, nullable=False),  # "" until the root submission is accepted
    Column("submissions", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("prompt", Text, nullable=False, server_default=""),  # the root's prompt
    Column("automatic", Integer, nullable=False, server_default="0"),  # submissions by rules and plugins
    Column("state", String),  # the root's `state` as its submitter set it; null: not looked up yet
    Column("client", String, nullable=False, server_default=""),  # the program that submitted the root
    Index("chains_by_age", "created_at_ms", "id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    Column("upstream", String, nullable=False),
    Column("submission_id", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    # The size as received: `body` may be truncated.
    Column("body_bytes", BigInteger, nullable=False, server_default="0"),
    Column("is_cut", Boolean, nullable=False, server_default=false()),
    # Of the reason and the body as received.
    Column("digest", String, nullable=False, server_default=""),
    Column("count", BigInteger, nullable=False, server_default="1"),  # how often an equal body arrived
    Column("last_at_ms", BigInteger, nullable=False, server_default="0"),
    Index("quarantine_by_body", "upstream", "submission_id", "digest"),
    # Never reuse an id: a person who drops an entry must not drop a newer one by mistake.
    sqlite_autoincrement=True,
)

# Other ids of a task: relays answer with one id, and call back with another.
aliases = Table(
    "aliases",
    metadata,
    Column("upstream", String, nullable=False),
    Column("id", String, nullable=False),
    Column("task_id", String, nullable=False),
    PrimaryKeyConstraint("upstream", "id"),
    Index("aliases_of_task", "upstream", "task_id"),
)

# Callbacks that were not stored, or not understood.
refusals = Table(
    "refusals",
    metadata,
    Column("upstream", String, nullable=False),  # "" if the URL does not show it
    Column("why", String, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("upstream", "why"),
)
