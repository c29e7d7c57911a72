"""Indexes that name all columns a question compares, so that SQLite takes them without statistics and without being talked
into it; and two for questions that read whole tables: the payloads that moved a task, and the newest tasks of ours.

It only changes indexes: the release before this one works on beside it.

Revision: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace four indexes and add two."""
    _replace("events_of_task", "events", ["task_id", "id"])
    _replace("submissions_by_state", "submissions", ["state", "upstream"])
    _replace("submissions_of_parent", "submissions", ["parent_id", "upstream", "created_at_ms"])
    op.drop_index("tasks_pressed_elsewhere", "tasks")
    pressed_elsewhere = "made_by <> '' AND submission_id IS NULL"
    _partial("tasks_pressed_elsewhere", "tasks", ["parent_id", "upstream"], pressed_elsewhere)
    _partial("tasks_in_chains", "tasks", ["upstream", "created_at_ms"], "chain_id IS NOT NULL")
    op.create_index(
        "events_advanced",
        "events",
        ["task_id", "id"],
        sqlite_where=sa.text("advanced = 1"),
        postgresql_where=sa.text("advanced"),
    )


def _replace(name: str, table: str, columns: list[str]) -> None:
    op.drop_index(name, table)
    op.create_index(name, table, columns)


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
