"""The table of approvals: decisions about held submissions. docs/decisions/0045 says why they have a table of their own."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, UniqueConstraint

from storage.schema.names import metadata, partial

approvals = Table(
    "approvals",
    metadata,
    Column("id", String, primary_key=True),
    Column("asked_by", String, nullable=False),  # the receiver
    Column("chain_id", String, nullable=False),
    Column("upstream", String, nullable=False),
    Column("task_id", String, nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("otherwise", String, nullable=False),  # what happens when it expires
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("decided_at_ms", BigInteger),
    Column("decided_by", String, nullable=False, server_default=""),
    Column("decided_from", String, nullable=False, server_default=""),
    UniqueConstraint("event_id", "asked_by", name="one_approval_per_firing"),
    Index("approvals_by_age", "asked_at_ms", "id"),
    Index("approvals_of_chain", "chain_id"),
    Index("approvals_by_state", "state", "asked_at_ms", "id"),
    partial("approvals_open", "expires_at_ms", "id", where="state = 'open'"),
)
