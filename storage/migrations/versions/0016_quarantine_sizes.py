"""How large quarantined bodies were when they came, whether all of them is kept, and how often an equal one came.

It only adds columns with defaults: the release before this one works on beside it.

Revision: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What is kept already stays whole."""
    op.add_column("quarantine", sa.Column("body_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("quarantine", sa.Column("is_cut", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("quarantine", sa.Column("digest", sa.String(), nullable=False, server_default=""))
    op.add_column("quarantine", sa.Column("count", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("quarantine", sa.Column("last_at_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE quarantine SET body_bytes = length(body), last_at_ms = received_at_ms")
    op.create_index("quarantine_by_body", "quarantine", ["upstream", "submission_id", "digest"])
