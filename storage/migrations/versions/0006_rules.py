"""What rules need: whether they fired and how often, replayed events, what was asked for again.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("events", sa.Column("generation", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("submissions", sa.Column("forgiven", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("submissions", sa.Column("repeats", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("fired", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "firings",
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", "scope"),
    )
