"""Intents that were paid for stay known when their chain has gone.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "spent",
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("submission_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key"),
    )
