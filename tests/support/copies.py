"""Copies of a database that nobody is connected to: made, and put back, as an administrator does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy.engine import make_url

from storage import settings
from storage.driver.postgres import parse
from storage.driver.server_identity import identity
from storage.submissions.request_count import GenerationFile


class Copies(Protocol):
    """One database and one copy of it."""

    url: str

    def make(self) -> None:
        """Copy it."""

    def put_back(self) -> None:
        """Have the copy in its place."""

    def put_back_whole(self) -> None:
        """As a snapshot of the volume does: what would tell that it is a copy is put back as well."""


class FileCopies:
    """Of a SQLite file, with what SQLite keeps beside it. The file that tells its generation stays where it is."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

        self._generation = GenerationFile(file).path

    def _names(self) -> list[Path]:
        return [self.file, *(self.file.with_name(f"{self.file.name}{end}") for end in ("-wal", "-shm"))]

    def make(self) -> None:
        for file in (*self._names(), self._generation):
            if file.exists():
                shutil.copy(file, file.with_name(f"{file.name}.copy"))

    def put_back(self) -> None:
        for file in self._names():
            file.unlink(missing_ok=True)
            copy = file.with_name(f"{file.name}.copy")
            if copy.exists():
                shutil.copy(copy, file)

    def put_back_whole(self) -> None:
        self.put_back()
        shutil.copy(self._generation.with_name(f"{self._generation.name}.copy"), self._generation)


class PostgresCopies:
    """Of a PostgreSQL database, by a template of the same server."""

    def __init__(self, server_url: str, url: str) -> None:
        self._server, self.url = server_url, url
        self._name = make_url(url).database
        self._copy = f"{self._name}_copy"

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def make(self) -> None:
        self._run(
            f"DROP DATABASE IF EXISTS {self._copy}", f"CREATE DATABASE {self._copy} TEMPLATE {self._name}"
        )

    def put_back(self) -> None:
        self._run(
            f"DROP DATABASE {self._name} WITH (FORCE)", f"CREATE DATABASE {self._name} TEMPLATE {self._copy}"
        )

    def put_back_whole(self) -> None:
        self.put_back()
        engine = parse(self.url).write_engine()
        with engine.begin() as connection:
            settings.keep(connection, "server", identity(connection))
        engine.dispose()

    def drop(self) -> None:
        """Drop the copy."""
        self._run(f"DROP DATABASE IF EXISTS {self._copy} WITH (FORCE)")
