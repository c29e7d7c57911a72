"""Wake-ups between processes by PostgreSQL's LISTEN and NOTIFY. Without them everything still works, up to a second later.

A NOTIFY inside a transaction serialises the commits of all transactions that notify. So notifications are sent on a separate
connection after the writes, at most one per topic and moment. On databases without NOTIFY (CockroachDB) only polling remains;
likewise behind poolers (PgBouncer in transaction mode), where a process can send wake-ups but not receive them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import structlog

from storage.driver.poolers import SERVER_PID, is_pooled
from storage.driver.wakeups import TOPICS, Topic, Wakeups
from storage.schema import SCHEMA

log = structlog.get_logger("hookchain")

CHANNEL = SCHEMA
"""The same name as the schema of the tables, which no other program uses."""

GATHER_S = 0.002
"""Seconds for which wake-ups are collected before they are sent."""

AGAIN_AFTER_S = 2.0
"""Seconds before a broken connection is reopened."""

CHECK_INTERVAL_S = 30.0
"""Seconds of silence after which the listening connection is checked."""

CANCELLED_S = 0.5
"""Seconds that a cancelled task gets to end before it is cancelled again."""

Connection = psycopg.AsyncConnection[Any]


class Announcer:
    """Sends and receives wake-ups; has one connection that listens, and one that notifies."""

    def __init__(self, conninfo: str, pooled: bool | None, wakeups: Wakeups) -> None:
        self._conninfo = conninfo
        self._pooled = pooled
        self._wakeups = wakeups
        self._me = secrets.token_hex(4)
        self._unsent: set[Topic] = set()
        self._has_unsent = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        wakeups.announce = self._announce

    def start(self) -> None:
        """Start to listen and to notify."""
        self._tasks = [
            asyncio.create_task(self._always(self._listen), name="listen"),
            asyncio.create_task(self._always(self._notify), name="notify"),
        ]

    async def stop(self) -> None:
        """Close both connections."""
        # Cancel repeatedly: psycopg uses asyncio.wait_for, which loses a cancellation that arrives together with the event
        # it waits for (Python 3.11).
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=CANCELLED_S)

    def _announce(self, topic: Topic) -> None:
        self._unsent.add(topic)
        self._has_unsent.set()

    async def _always(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        while True:
            try:
                connection = await Connection.connect(self._conninfo, autocommit=True)
                async with connection:
                    return await work(connection)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction) as error:
                log.warning(
                    "this database has no wake-ups between processes; workers poll instead", why=str(error)
                )
                return None
            except psycopg.Error as error:
                log.debug(
                    "wake-ups between processes are interrupted; workers poll instead", why=str(error).strip()
                )
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _listen(self, connection: Connection) -> None:
        (server_pid,) = await (await connection.execute(SERVER_PID)).fetchone() or (0,)
        pooled = is_pooled(self._pooled, connection, server_pid)
        if not pooled:  # behind a pooler, LISTEN would stay with a server connection that other clients use
            await connection.execute(f"LISTEN {CHANNEL}")
        for topic in TOPICS:  # for the wake-ups that were missed before
            self._wakeups.wake_local(topic)
        if pooled:
            log.info("wake-ups cannot be received through a connection pooler; this worker polls instead")
        while not pooled:
            async for notification in connection.notifies(timeout=CHECK_INTERVAL_S):
                sender, _, name = notification.payload.partition(" ")
                if sender != self._me:
                    for topic in [topic for topic in TOPICS if topic == name]:
                        self._wakeups.wake_local(topic)
            await connection.execute("SELECT 1")

    async def _notify(self, connection: Connection) -> None:
        while True:
            await self._has_unsent.wait()
            await asyncio.sleep(GATHER_S)
            self._has_unsent.clear()
            unsent, self._unsent = self._unsent, set()
            for topic in unsent:
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{self._me} {topic}"))
