"""Runs revisions on the connection that `storage.migrate` opened; there is no alembic.ini.

Revisions name tables without a schema: on PostgreSQL `storage/driver/own_schema.py` has made ours the only one they find.
"""

from __future__ import annotations

from alembic import context

from storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
