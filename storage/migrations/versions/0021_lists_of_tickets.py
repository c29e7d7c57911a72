"""Indexes for the lists of tickets: over all clients by age, and the open ones of a client. And why an account was chosen.

The new column has a default: the release before this one works on beside it.

Revision: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the indexes."""
    op.add_column("tickets", sa.Column("chosen", sa.Text(), nullable=False, server_default=""))
    is_open = sa.text("ended_at_ms IS NULL")
    # With the id, so that a list of open tickets in their order is read from it: SQLite would take the index of all tickets.
    op.drop_index("tickets_open", "tickets")
    op.create_index(
        "tickets_open",
        "tickets",
        ["created_at_ms", "id"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("tickets_by_age", "tickets", ["created_at_ms", "id"])
    op.create_index(
        "tickets_open_of_client",
        "tickets",
        ["client", "created_at_ms", "id", "is_window"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
