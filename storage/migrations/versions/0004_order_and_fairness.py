"""Deliveries of one task in order; submissions by priority and in turn between chains; tasks that go missing.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("state IN ('waiting', 'running')")


def upgrade() -> None:
    """Add the columns and the indexes that the claims are answered from."""
    op.add_column("deliveries", sa.Column("lane", sa.String(), nullable=False, server_default=""))
    op.create_index(
        "deliveries_in_lane",
        "deliveries",
        ["receiver", "lane", "id"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.add_column("submissions", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "submissions", sa.Column("queue_at_ms", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_index(
        "submissions_waiting",
        "submissions",
        ["upstream", "queue_at_ms"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("submissions_by_hour", "submissions", ["upstream", "created_at_ms"])
    op.create_index("submissions_by_age", "submissions", ["created_at_ms", "id"])
    op.create_index("submissions_of_parent", "submissions", ["parent_id"])
    op.add_column("tasks", sa.Column("misses", sa.Integer(), nullable=False, server_default="0"))
