"""What many processes must agree on: the limits of upstreams, who runs what, and whose turn it is.

Revision: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, keep what is paused, and add who runs a delivery or sends a submission."""
    op.create_table(
        "upstreams",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("rate_paid_until_us", sa.BigInteger(), nullable=False),
        sa.Column("held_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("open_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute(
        "INSERT INTO upstreams (name, paused, rate_paid_until_us, held_until_ms, failures, open_until_ms, open_ms)"
        " SELECT substr(key, 8), true, 0, 0, 0, 0, 0 FROM meta WHERE key LIKE 'paused:%'"
    )
    op.execute("DELETE FROM meta WHERE key LIKE 'paused:%'")
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.bulk_insert(leases, [{"name": "fan_out", "holder": "", "since_ms": 0, "until_ms": 0}])
    op.add_column("deliveries", sa.Column("worker", sa.String(), nullable=False, server_default=""))
    op.add_column("submissions", sa.Column("worker", sa.String(), nullable=False, server_default=""))
