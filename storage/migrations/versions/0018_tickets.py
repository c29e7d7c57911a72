"""The gateway: what clients ordered, and the seeds of their images.

It only adds tables: the release before this one works on beside it.

Revision: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "tickets",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("submission_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=False),
        sa.Column("custom_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("is_window", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("fail_reason", sa.Text(), nullable=False),
        sa.Column("told_status", sa.String(), nullable=False),
        sa.Column("told_progress", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_at_ms", sa.BigInteger()),
        sa.Column("ended_at_ms", sa.BigInteger()),
    )
    op.create_table(
        "seeds",
        sa.Column("upstream", sa.String(), primary_key=True),
        sa.Column("task_id", sa.String(), primary_key=True),
        sa.Column("seed", sa.String(), nullable=False),
    )
    _index("one_ticket_per_key", ["client", "idempotency_key"], where="idempotency_key <> ''", unique=True)
    _index("tickets_of_client", ["client", "created_at_ms", "id"])
    _index("tickets_by_digest", ["client", "digest", "created_at_ms"])
    _index("tickets_of_submission", ["submission_id"], where="submission_id <> ''")
    _index("tickets_of_task", ["task_id", "upstream"], where="task_id <> ''")
    _index("tickets_of_button", ["parent_id", "client"], where="parent_id <> ''")
    _index("tickets_ended", ["ended_at_ms"], where="ended_at_ms IS NOT NULL")
    _index("tickets_open", ["created_at_ms"], where="ended_at_ms IS NULL")


def _index(name: str, columns: list[str], *, where: str = "", unique: bool = False) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        name, "tickets", columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
