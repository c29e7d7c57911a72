"""An id in quarantine is never given again: who drops the entry that he has read must not drop the next one.

SQLite gives the id of the last row anew once that is gone, unless the table says AUTOINCREMENT
(https://www.sqlite.org/autoinc.html); PostgreSQL never does.

Revision: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Write the table anew on SQLite, with what is in it."""
    if op.get_bind().dialect.name != "sqlite":
        return
    with op.batch_alter_table("quarantine", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
        pass
