"""Rows put into a state by the test itself, whatever the operations of storage allow."""

from __future__ import annotations

from sqlalchemy import Connection, update

from storage import schema


def submission(connection: Connection, submission_id: str, state: str) -> None:
    """A submission in this state."""
    table = schema.submissions
    connection.execute(update(table).where(table.c.id == submission_id).values(state=state))
