"""The connection of one writer: opened when it is needed, tried when it was idle, hung up on when the server is silent.

All but `hang_up` is called in the writer's thread.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time

import psycopg
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from storage import sqlite

log = structlog.get_logger("hookchain")

CHECKPOINT_AFTER = 20
"""Commits, of about ten pages each, after which an idle moment is used to put the journal away."""

TRUSTED_S = 1.0
"""Seconds for which a connection to a server is believed to live; then it is tried before it is used."""


class Link:
    """A connection to a SQLite file or a PostgreSQL server, or the lack of one."""

    def __init__(self, engine: Engine) -> None:
        self.is_file = engine.dialect.name == "sqlite"
        self._engine = engine
        self._connection: Connection | None = None
        self._used_s = 0.0
        self._since_checkpoint = 0

    def connected(self) -> Connection:
        """A connection that works, as far as can be known. Raises what SQLAlchemy raises when there is none."""
        if self._connection is not None and not self.is_file:
            self._try_idle(self._connection)
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def commit(self, connection: Connection) -> None:
        """Commit, unless the file that was opened is no longer the one at its path."""
        if self.is_file:
            sqlite.check_in_place(connection, self._engine)
            self._since_checkpoint += 1
        connection.commit()
        self._used_s = time.monotonic()

    def give_up(self) -> None:
        """The next one to ask gets another connection."""
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):  # it is given up because it does not work
                self._connection.invalidate()
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """No more of it."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def hang_up(self) -> None:
        """End the connection from outside the thread that waits for it: it hears that the server has gone."""
        connection = self._connection
        driver = None if connection is None or self.is_file else connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            with (
                contextlib.suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(driver.fileno())) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)  # unless it has ended by itself

    @property
    def has_journal(self) -> bool:
        """Whether enough was committed to a file to put its journal away."""
        return self._since_checkpoint >= CHECKPOINT_AFTER

    def checkpoint(self) -> None:
        """Move the journal into the database file while nobody waits.

        SQLite does it by itself every 1000 pages, within somebody's commit, which then takes 10 to 15 ms.
        """
        self._since_checkpoint = 0
        if self._connection is not None:
            try:
                sqlite.checkpoint(self._connection)
            except sqlite3.Error as error:  # nothing is lost by it: SQLite tries again in a later commit
                log.warning("checkpoint put off", why=str(error))

    def _try_idle(self, connection: Connection) -> None:
        """Give up a connection that died while nobody used it: the server was restarted, say."""
        if time.monotonic() - self._used_s < TRUSTED_S:
            return
        try:
            connection.exec_driver_sql("SELECT 1")
            connection.rollback()
        except DBAPIError as error:
            log.info("connecting to the database again", why=str(error.orig))
            self.give_up()
