"""The speed mode of a submission.

The new column has a default: the release before this one works on beside it.

Revision: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("submissions", sa.Column("mode", sa.String(), nullable=False, server_default=""))
