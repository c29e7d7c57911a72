"""Lanes: submissions that go one after the other. Looks: when the upstream was last asked about a task.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPEN, _IN_LANE = sa.text("finished_at_ms IS NULL"), sa.text("lane <> ''")


def upgrade() -> None:
    """Add both columns, and the indexes that find the few rows they are about."""
    op.add_column("submissions", sa.Column("lane", sa.String(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("looked_at_ms", sa.BigInteger(), nullable=True))
    op.create_index(
        "submissions_in_lane", "submissions", ["lane"], sqlite_where=_IN_LANE, postgresql_where=_IN_LANE
    )
    op.create_index(
        "tasks_open", "tasks", ["upstream", "updated_at_ms"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
