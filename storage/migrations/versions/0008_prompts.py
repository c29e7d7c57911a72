"""What people look for: the words of tasks and chains, and the tasks that no chain has.

Revision: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the words, empty for what is there already, and the index."""
    op.add_column("tasks", sa.Column("prompt", sa.Text(), nullable=False, server_default=""))
    op.add_column("chains", sa.Column("prompt", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "tasks_unchained",
        "tasks",
        ["created_at_ms", "id"],
        sqlite_where=sa.text("chain_id IS NULL"),
        postgresql_where=sa.text("chain_id IS NULL"),
    )
