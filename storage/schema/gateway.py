"""Tables of the gateway: what clients ordered, and what accounts were asked about images. docs/decisions/0040 says why a ticket is not a submission."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, String, Table, Text, false

from storage.schema.names import metadata, partial

tickets = Table(
    "tickets",
    metadata,
    Column("id", String, primary_key=True),  # 16 digits
    Column("client", String, nullable=False),
    Column("kind", String, nullable=False),  # of the request: "imagine", "action", "modal" …
    Column("upstream", String, nullable=False),
    Column("submission_id", String, nullable=False),  # "" for a window that the gateway opened itself
    Column("task_id", String, nullable=False),  # the upstream's id, once it is known
    Column("parent_id", String, nullable=False),  # the upstream's id of the task that was pressed
    Column("custom_id", String, nullable=False),  # the button that was pressed
    Column("action", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("digest", String, nullable=False),  # of the request, to recognise repetitions
    Column("idempotency_key", String, nullable=False),
    Column("state", Text, nullable=False),  # the client's own
    Column("hook", Text, nullable=False),  # the client's notifyHook
    Column("is_window", Boolean, nullable=False, server_default=false()),  # it waits for the client's answer
    Column("answer", LargeBinary, nullable=False),  # the client's answer to its window, as a request
    Column("fail_reason", Text, nullable=False),  # why it ended here, without the upstream
    Column("told_status", String, nullable=False),  # the last that its hook was told
    Column("told_progress", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("answered_at_ms", BigInteger),  # when the answer to the request was written
    Column("ended_at_ms", BigInteger),
    Column("chosen", Text, nullable=False, server_default=""),  # why its first account was chosen
    partial("one_ticket_per_key", "client", "idempotency_key", where="idempotency_key <> ''", unique=True),
    Index("tickets_of_client", "client", "created_at_ms", "id"),
    Index("tickets_by_digest", "client", "digest", "created_at_ms"),
    partial("tickets_of_submission", "submission_id", where="submission_id <> ''"),
    partial("tickets_of_task", "task_id", "upstream", where="task_id <> ''"),
    partial("tickets_of_button", "parent_id", "client", where="parent_id <> ''"),
    partial("tickets_ended", "ended_at_ms", where="ended_at_ms IS NOT NULL"),
    partial("tickets_open", "created_at_ms", "id", where="ended_at_ms IS NULL"),
    partial(
        "tickets_open_of_client", "client", "created_at_ms", "id", "is_window", where="ended_at_ms IS NULL"
    ),
    Index("tickets_by_age", "created_at_ms", "id"),
)

# Seeds of images, which never change.
seeds = Table(
    "seeds",
    metadata,
    Column("upstream", String, primary_key=True),
    Column("task_id", String, primary_key=True),
    Column("seed", String, nullable=False),
)
