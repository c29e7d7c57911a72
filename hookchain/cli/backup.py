"""`hookchain backup`: copy the database while the server runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hookchain.cli.api import operating
from hookchain.cli.output import say
from hookchain.settings.load import SettingsError
from storage.backup import back_up
from storage.engine import parse_url
from storage.schema import SCHEMA


def backup(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Copy a SQLite database into one file.

    The server may keep running. The file contains secrets, and only you can read it. For PostgreSQL, use pg_dump.
    """
    settings = operating().database()
    database = parse_url(settings.database_url)
    if not isinstance(database, Path):
        raise SettingsError(
            "this command copies SQLite only; for PostgreSQL, run "
            f'pg_dump --format=custom --schema={SCHEMA} --file={file} "$DATABASE_URL"'
        )
    copy = back_up(database, file, overwrite=overwrite)
    say(f"{copy.file}: {copy.size_bytes / 1024:.0f} KiB, revision {copy.revision}")
