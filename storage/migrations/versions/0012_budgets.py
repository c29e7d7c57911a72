"""Budgets by hour, day and month; who asked for a submission; what rules and plugins asked for in a chain.

Revision: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OF_RULES = "substr(asked_by, 1, 7) <> 'person:' AND state <> 'refused'"


def upgrade() -> None:
    """Add the columns and the table. What was submitted before counts for no budget of a period; chains count theirs anew."""
    for column in (
        sa.Column("automatic", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("state", sa.String()),
        sa.Column("client", sa.String(), nullable=False, server_default=""),
    ):
        op.add_column("chains", column)
    for column in (
        sa.Column("client", sa.String(), nullable=False, server_default=""),
        sa.Column("user", sa.String(), nullable=False, server_default=""),
        sa.Column("charges", sa.Text(), nullable=False, server_default=""),
        sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("submissions", column)
    op.create_index(
        "submissions_of_rules",
        "submissions",
        ["upstream", "created_at_ms"],
        sqlite_where=sa.text(_OF_RULES),
        postgresql_where=sa.text(_OF_RULES),
    )
    op.execute(
        "UPDATE chains SET automatic = (SELECT count(*) FROM submissions"
        f" WHERE submissions.chain_id = chains.id AND {_OF_RULES})"
    )
    op.create_table(
        "budgets",
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("submissions", sa.BigInteger(), nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget", "scope", "period"),
    )
    op.create_index("budgets_by_end", "budgets", ["ends_at_ms"])
