"""Seeds of images, kept for ever: an account takes up to a minute to find one."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.tickets import sql


def find(connection: Connection, upstream: str, task_id: str) -> str:
    """The seed of a task's image, or ""."""
    return sql.SEED.first(connection, upstream=upstream, task_id=task_id) or ""


def keep(connection: Connection, upstream: str, task_id: str, seed: str) -> None:
    """Store the seed of a task's image."""
    sql.KEEP_SEED(connection, upstream=upstream, task_id=task_id, seed=seed)
