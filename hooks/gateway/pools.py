"""The accounts that a client may use, and in which order new work tries them: as they stand now."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from dispatcher.tickets.clients import Client, Pool
from dispatcher.tickets.routing import Account, mode_of, ordered, pool_of, reason
from midjourney.dialects import Upstream
from storage import clock
from storage.engine import Connection, Database
from storage.tickets import moves
from storage.upstreams import standings

ONLY = "the only account of its client"


class Pools:
    """The pools of all clients."""

    def __init__(
        self, database: Database, upstreams: Mapping[str, Upstream], pools: Mapping[str, Pool]
    ) -> None:
        self._database = database
        self._upstreams = upstreams
        self._pools = pools

    def members(self, client: Client) -> Sequence[str]:
        """All accounts that a client may use, as listed."""
        return [name for name in self._pool(client).upstreams if name in self._upstreams]

    async def for_new_work(self, client: Client, mode: str) -> tuple[Sequence[str], str]:
        """The accounts that may do new work in a mode, the best first, and why it is the best; none if no account works in it."""
        pool, names = self._pool(client), self.members(client)
        if len(names) == 1 and not pool.modes:
            return names, ONLY
        accounts = await self._database.read(lambda connection: self._accounts(connection, names))
        found = ordered(pool, accounts, mode_of(mode), lambda: 1.0 - random.random())
        return found, reason(pool, accounts, mode_of(mode), found[0]) if found else ""

    def _pool(self, client: Client) -> Pool:
        return pool_of(client, self._pools, list(self._upstreams))

    def _accounts(self, connection: Connection, names: Sequence[str]) -> list[Account]:
        stopped, waiting = moves.stopped(connection, clock.now_ms()), moves.busy(connection, names)
        loads = standings.loads(
            connection, names, with_jobs=any(self._upstreams[name].jobs for name in names)
        )
        accounts: list[Account] = []
        for name in names:
            upstream, load = self._upstreams[name], loads.get(name)
            places = upstream.jobs or upstream.concurrency
            running = 0 if load is None else (load.jobs if upstream.jobs else load.requests)
            free = places - max(running, waiting.get(name, 0))
            accounts.append(Account(name, is_stopped=name in stopped, free=free))
        return accounts
