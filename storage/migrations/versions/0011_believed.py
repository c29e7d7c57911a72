"""Where an event's word comes from, what is confirmed, what is the same thing under two names, and what was refused.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables. What is there already counts as confirmed: it is history, and not asked about again."""
    op.add_column("events", sa.Column("provenance", sa.String(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("confirmed", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("tasks", sa.Column("ask_at_ms", sa.BigInteger()))
    op.add_column("tasks", sa.Column("made_by", sa.String(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("shown", sa.String(), nullable=False, server_default=""))
    op.add_column("submissions", sa.Column("thing", sa.String(), nullable=False, server_default=""))
    op.add_column("upstreams", sa.Column("pause_reason", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "upstreams", sa.Column("switched_at_ms", sa.BigInteger(), nullable=False, server_default="0")
    )
    _index("tasks_to_ask", "tasks", ["upstream", "ask_at_ms"], where="ask_at_ms IS NOT NULL")
    _index("tasks_pressed_elsewhere", "tasks", ["parent_id"], where="made_by <> '' AND submission_id IS NULL")
    _index("one_press_per_thing", "submissions", ["chain_id", "thing"], where="thing <> ''", unique=True)
    op.create_table(
        "aliases",
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "id"),
    )
    op.create_index("aliases_of_task", "aliases", ["upstream", "task_id"])
    op.create_table(
        "refusals",
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "why"),
    )


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
