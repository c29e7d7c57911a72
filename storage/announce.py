"""Wake-ups between processes: LISTEN and NOTIFY of PostgreSQL. Without them everything works, a second later.

A NOTIFY inside a transaction makes all that notify commit one after the other, so they are sent apart from the writes,
after them, and at most one a topic and moment. Databases that lack them (CockroachDB), and poolers that lose them
(PgBouncer per transaction), leave the polling.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import structlog

from storage.notify import TOPICS, Topic, Wakeups
from storage.postgres import Address
from storage.schema import SCHEMA

log = structlog.get_logger("hookchain")

CHANNEL = SCHEMA
"""Named as the tables: whoever shares them should hear of them, and no other program uses the name."""

GATHER_S = 0.002
"""Seconds in which wake-ups are gathered into one."""

AGAIN_AFTER_S = 2.0
"""Seconds before a connection that broke is opened again."""

TRIED_EVERY_S = 30.0
"""Seconds of silence after which the listening connection is tried."""

CANCELLED_S = 0.5
"""Seconds in which a task that was cancelled should have ended."""

Connection = psycopg.AsyncConnection[Any]


class Announcer:
    """Two connections: one that listens, one that tells."""

    def __init__(self, address: Address, wakeups: Wakeups) -> None:
        self._conninfo = address.conninfo
        self._wakeups = wakeups
        self._me = secrets.token_hex(4)
        self._untold: set[Topic] = set()
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        wakeups.announce = self._announce

    def start(self) -> None:
        """Begin to listen and to tell."""
        self._tasks = [
            asyncio.create_task(self._always(self._listen), name="listen"),
            asyncio.create_task(self._always(self._tell), name="notify"),
        ]

    async def stop(self) -> None:
        """Close both connections."""
        # More than once: asyncio.wait_for, which psycopg waits by, loses a cancellation that comes with the event it
        # waits for (Python 3.11).
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=CANCELLED_S)

    def _announce(self, topic: Topic) -> None:
        self._untold.add(topic)
        self._something.set()

    async def _always(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        while True:
            try:
                connection = await Connection.connect(self._conninfo, autocommit=True)
                async with connection:
                    await work(connection)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction) as error:
                log.warning("no wake-ups between processes here, only polling", why=str(error))
                return
            except psycopg.Error as error:
                log.debug("no wake-ups between processes for a while, only polling", why=str(error).strip())
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _listen(self, connection: Connection) -> None:
        await connection.execute(f"LISTEN {CHANNEL}")
        for missed in TOPICS:  # whatever was told while nobody listened
            self._wakeups.hear(missed)
        while True:
            async for told in connection.notifies(timeout=TRIED_EVERY_S):
                sender, _, topic = told.payload.partition(" ")
                if sender != self._me:
                    for known in [known for known in TOPICS if known == topic]:
                        self._wakeups.hear(known)
            await connection.execute("SELECT 1")

    async def _tell(self, connection: Connection) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_S)
            self._something.clear()
            untold, self._untold = self._untold, set()
            for topic in untold:
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{self._me} {topic}"))
