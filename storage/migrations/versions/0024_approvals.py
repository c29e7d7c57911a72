"""Approvals, and which one a held submission belongs to.

It adds a table, and a column with a default: the release before this one works on beside it. That release neither sends held
submissions nor lets their approvals expire.

Revision: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, the column and the indexes."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("chain_id", sa.String(), nullable=False),
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("otherwise", sa.String(), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger()),
        sa.Column("decided_by", sa.String(), nullable=False, server_default=""),
        sa.Column("decided_from", sa.String(), nullable=False, server_default=""),
        sa.UniqueConstraint("event_id", "asked_by", name="one_approval_per_firing"),
    )
    op.create_index("approvals_by_age", "approvals", ["asked_at_ms", "id"])
    op.create_index("approvals_by_state", "approvals", ["state", "asked_at_ms", "id"])
    op.create_index("approvals_of_chain", "approvals", ["chain_id"])
    _partial("approvals_open", "approvals", ["expires_at_ms", "id"], "state = 'open'")
    op.add_column("submissions", sa.Column("approval_id", sa.String(), nullable=False, server_default=""))
    _partial("submissions_of_approval", "submissions", ["approval_id"], "approval_id <> ''")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
