"""Which chains and tasks may have come to rest, and what a submission follows from.

The new column has a default: the release before this one works on beside it.

Revision: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column. Chains that are at rest get no row, and so no signal."""
    op.create_table(
        "joins",
        sa.Column("chain_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("look_at_ms", sa.BigInteger()),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("given", sa.Integer(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "task_id"),
    )
    is_marked = sa.text("look_at_ms IS NOT NULL")
    op.create_index(
        "joins_to_look_at", "joins", ["look_at_ms"], sqlite_where=is_marked, postgresql_where=is_marked
    )
    op.add_column("submissions", sa.Column("follows", sa.String(), nullable=False, server_default=""))
