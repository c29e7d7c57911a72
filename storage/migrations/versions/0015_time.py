"""For how long an upstream was told to be left alone, when something left for it last, and whether an uncertain submission
may still take a place there.

It only adds columns with defaults: the release before this one works on beside it.

Revision: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What is held when this runs is held for no longer than the longest Retry-After that is obeyed, a day."""
    op.add_column("upstreams", sa.Column("held_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("upstreams", sa.Column("left_at_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE upstreams SET held_ms = 86400000 WHERE held_until_ms > 0")
    op.add_column(
        "submissions", sa.Column("takes_place", sa.Boolean(), nullable=False, server_default=sa.true())
    )
