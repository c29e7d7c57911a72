"""Excused attempts: those of receivers that had to wait for their upstream.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what ran before has none to excuse."""
    op.add_column("deliveries", sa.Column("excused", sa.Integer(), nullable=False, server_default="0"))
