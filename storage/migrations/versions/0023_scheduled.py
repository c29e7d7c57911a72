"""Scheduled submissions keep the terms on which they were asked for, so that whoever asked can be asked again when they are due.

The new columns may be empty, as they are for what waits already: that is sent as before. The release before this one works on beside
it, and asks nobody.

Revision: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and their index."""
    op.add_column("submissions", sa.Column("terms", sa.Text()))
    op.add_column("submissions", sa.Column("cleared_at_ms", sa.BigInteger()))
    is_scheduled = sa.text("state = 'waiting' AND terms IS NOT NULL")
    op.create_index(
        "submissions_scheduled",
        "submissions",
        ["run_at_ms"],
        sqlite_where=is_scheduled,
        postgresql_where=is_scheduled,
    )
