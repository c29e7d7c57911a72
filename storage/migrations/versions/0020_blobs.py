"""The long texts that requests refer to.

It only adds tables: the release before this one works on beside it.

Revision: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("blobs_by_age", "blobs", ["until_ms"])
    op.create_table(
        "blob_pieces",
        sa.Column("sha256", sa.String(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("piece", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "blob_uses",
        sa.Column("sha256", sa.String(), primary_key=True),
        sa.Column("used_by", sa.String(), primary_key=True),
    )
