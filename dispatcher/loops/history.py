"""Loop: learns which tasks an upstream had before this database first met it, so that receivers do not act on them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.runs.readback import Readback
from midjourney.client import Client
from midjourney.errors import ProtocolError, UpstreamRefused
from midjourney.types import Task
from storage.engine import Database
from storage.errors import NotDurable
from storage.tasks import history

log = structlog.get_logger("hookchain")

FIRST_S = 3.0
"""How long a start waits for the upstreams' lists. Slower upstreams are asked further; until they answer, nothing is spent because of
their callbacks."""


TRIES = 10
"""After this many failed requests for the list, two seconds apart, only the times of tasks decide what is history."""

AGAIN_S = 2.0
"""Seconds between two tries at an upstream that does not answer."""


class Historian:
    """Learns the history of each upstream, once per database."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        readbacks: Mapping[str, Readback],
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._clients = clients
        self._readbacks = readbacks
        self._clock = clock
        self._learning: dict[str, asyncio.Task[None]] = {}
        self._failures: Counter[str] = Counter()
        self.loop = Loop("history", self._turn, interval_s=AGAIN_S)

    async def _turn(self) -> None:
        self.go_on()

    async def begin(self) -> None:
        """Learn the history of the upstreams that answer quickly."""
        learning = self.go_on()
        if learning:
            await asyncio.wait(learning, timeout=FIRST_S)

    def go_on(self) -> list[asyncio.Task[None]]:
        """Ask the upstreams whose history is unknown. Returns the requests under way."""
        for name, readback in self._readbacks.items():
            task = self._learning.get(name)
            if readback.began_ms is None and (task is None or task.done()):
                self._learning[name] = asyncio.create_task(self._learn(name, readback))
        return [task for task in self._learning.values() if not task.done()]

    async def stop(self) -> None:
        """Cancel all requests, after the loop has ended."""
        for task in self._learning.values():
            task.cancel()
        await asyncio.gather(*self._learning.values(), return_exceptions=True)

    async def _learn(self, name: str, readback: Readback) -> None:
        """Learn the history of an upstream. If its list fails for long, go without it: the upstream must not be blocked for ever."""
        try:
            known = await self._database.write(
                "history", partial(history.meet, upstream=name, now_ms=self._clock())
            )
            if not known.is_learned:
                await self._store_listed(name, known.met_ms)
            readback.began_ms = known.met_ms
        except (ProtocolError, NotDurable) as error:  # the loop asks again
            self._failures[name] += 1
            log.info("an upstream's history is not known yet", upstream=name, why=str(error))
            if self._failures[name] == TRIES and isinstance(error, UpstreamRefused):
                log.warning(
                    "an upstream's list cannot be read: hookchain recognises its old tasks by their times alone",
                    upstream=name,
                    why=str(error),
                )
                readback.began_ms = known.met_ms

    async def _store_listed(self, name: str, met_ms: int) -> None:
        listed = await _listed(self._clients[name])
        kept = await self._database.write(
            "history",
            partial(history.learn, upstream=name, listed=listed, met_ms=met_ms, now_ms=self._clock()),
        )
        log.info("the history of an upstream is known", upstream=name, tasks=kept)


async def _listed(client: Client) -> Sequence[Task]:
    """The tasks in the upstream's list; none if it has no list."""
    if not client.dialect.has("list"):
        return []
    try:
        listed = await client.list_all()
    except UpstreamRefused as error:
        if error.status in (404, 405, 501):
            return []
        raise
    if listed.unread:
        log.warning(
            "entries of an upstream's list cannot be read: hookchain recognises them as old by their times alone",
            upstream=client.upstream.name,
            entries=listed.unread,
        )
    return listed.tasks
