"""Keys of the gateway's clients.

It only adds a table: the release before this one works on beside it.

Revision: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of keys."""
    op.create_table(
        "client_keys",
        sa.Column("hash", sa.String(), primary_key=True),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger()),
        sa.Column("last_used_at_ms", sa.BigInteger()),
    )
    op.create_index("client_keys_of_client", "client_keys", ["client", "created_at_ms"])
