"""How much came, was sent and was run, minute by minute.

Revision: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; what was before it is not known."""
    op.create_table(
        "traffic",
        sa.Column("minute_ms", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.String(), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.Column("total_us", sa.BigInteger(), nullable=False),
        sa.Column("slowest_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minute_ms", "series"),
    )
