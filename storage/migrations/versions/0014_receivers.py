"""Deliveries whose attempts are counted on when a person has them run again, and those that may have ended a process.

Revision: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What ran before counts as it did."""
    op.add_column("deliveries", sa.Column("forgiven", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "deliveries", sa.Column("suspected", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("deliveries", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    where = sa.text("suspected AND state IN ('waiting', 'running')")
    op.create_index(
        "deliveries_suspected", "deliveries", ["receiver"], sqlite_where=where, postgresql_where=where
    )
