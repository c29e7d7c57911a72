"""The connection of one writer: opened when needed, checked after idle time, cut off when the server does not answer.

Everything except `hang_up` is called in the writer's thread.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from storage.driver import server_errors, sqlite
from storage.errors import NotDurable

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic

log = structlog.get_logger("hookchain")

CHECKPOINT_AFTER = 20
"""Commits, of about ten pages each, after which the next idle moment is used for a checkpoint."""

TRUSTED_S = 1.0
"""A connection to a server that was idle for longer than this is checked before it is used."""


CANCEL_S = 2.0
"""How long to wait for a server to accept the request to cancel its work."""


class _ServerConnection(Protocol):
    """What is used of a `psycopg.Connection`, which is not loaded for a file."""

    def add_notice_handler(self, callback: Callable[[Diagnostic], None]) -> None: ...

    def remove_notice_handler(self, callback: Callable[[Diagnostic], None]) -> None: ...

    def cancel_safe(self, *, timeout: float) -> None: ...

    def fileno(self) -> int: ...


def _driver_of(connection: Connection) -> _ServerConnection:
    return cast("_ServerConnection", connection.connection.driver_connection)


class WriterConnection:
    """The connection to a SQLite file or a PostgreSQL server; it may be closed, and is then opened on demand."""

    def __init__(self, engine: Engine) -> None:
        self.is_file = engine.dialect.name == "sqlite"
        self._engine = engine
        self._connection: Connection | None = None
        self._driver: _ServerConnection | None = None
        self._used_s = 0.0
        self._since_checkpoint = 0

    def connected(self) -> Connection:
        """The open connection, opened or reopened if needed. Raises SQLAlchemy's errors if it cannot be opened."""
        if self._connection is not None and not self.is_file:
            self._try_idle(self._connection)
        if self._connection is None:
            self._connection = self._engine.connect()
            if not self.is_file:
                self._driver = _driver_of(self._connection)
        return self._connection

    def commit(self, connection: Connection) -> None:
        """Commit. Raises `NotDurable` if the file that was opened is no longer the one at its path."""
        if self.is_file:
            sqlite.check_in_place(connection, self._engine)
            self._since_checkpoint += 1
            connection.commit()
        else:
            _commit_on_server(connection)
        self._used_s = time.monotonic()

    def give_up(self) -> None:
        """Discard the connection; `connected` then opens another one."""
        if self._connection is not None:
            self._driver = None
            with contextlib.suppress(DBAPIError):  # errors are expected: the connection is broken
                self._connection.invalidate()
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection for good."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def hang_up(self) -> None:
        """Cut the connection from another thread: the thread that waits for the server gets a disconnection error.

        The server is asked to cancel its work first. A server process that waits for a standby does not notice that its
        client is gone, and would keep its locks and one of the server's connections.
        """
        driver = self._driver
        if driver is not None:
            errors: tuple[type[Exception], ...] = (OSError, *server_errors.kinds())
            with contextlib.suppress(*errors):  # it may have closed in the meantime
                driver.cancel_safe(timeout=CANCEL_S)
            with (
                contextlib.suppress(*errors),
                socket.socket(fileno=os.dup(driver.fileno())) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)

    @property
    def has_journal(self) -> bool:
        """True if enough was committed to a file for a checkpoint."""
        return self._since_checkpoint >= CHECKPOINT_AFTER

    def checkpoint(self) -> None:
        """Move the journal into the database file at an idle moment.

        SQLite does so itself every 1000 pages, during a commit, which then takes 10 to 15 ms.
        """
        self._since_checkpoint = 0
        if self._connection is not None:
            try:
                sqlite.checkpoint(self._connection)
            except sqlite3.Error as error:  # harmless: SQLite tries again during a later commit
                log.warning("checkpoint put off", why=str(error))

    def _try_idle(self, connection: Connection) -> None:
        """Discard a connection that broke while it was idle, for example because the server was restarted."""
        if time.monotonic() - self._used_s < TRUSTED_S:
            return
        try:
            connection.exec_driver_sql("SELECT 1")
            connection.rollback()
        except DBAPIError as error:
            log.info("connecting to the database again", why=str(error.orig))
            self.give_up()


def _commit_on_server(connection: Connection) -> None:
    """Commit. Raises `NotDurable` if PostgreSQL committed, but warns that its standby may not have the commit.

    This happens when the wait for a synchronous standby is cancelled: PostgreSQL reports success with a warning, and a failover
    would lose the commit (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION-HA). Any warning
    counts, because its text is in the server's language, and a commit gives no other warning.
    """
    warnings: list[str] = []

    def note(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "")

    driver = _driver_of(connection)
    driver.add_notice_handler(note)
    try:
        connection.commit()
    finally:
        driver.remove_notice_handler(note)
    if warnings:
        raise NotDurable(f"the database committed with a warning: {warnings[0]}")
