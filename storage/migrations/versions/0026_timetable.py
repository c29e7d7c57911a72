"""When rules that run by the clock are due.

The table is new: the release before this one works on beside it.

Revision: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table. It is filled when a rule with `every` is loaded."""
    op.create_table(
        "timetable",
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("every", sa.String(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule"),
    )
