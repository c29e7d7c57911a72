"""The accounts behind the gateway, as `account/list` shows them: names and free places, and no secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hooks.gateway.answering import Answer
from midjourney.dialects import Upstream
from storage.engine import Connection, Database
from storage.upstreams import standings
from storage.upstreams.standings import Load


class Accounts:
    """The handler of `account/list`."""

    def __init__(self, database: Database, upstreams: Mapping[str, Upstream]) -> None:
        self._database = database
        self._upstreams = upstreams

    async def list(self, names: Sequence[str]) -> Answer:
        """These accounts, in the fields that novicezk 2.6 uses."""
        known = [name for name in names if name in self._upstreams]

        def read(connection: Connection) -> tuple[frozenset[str], dict[str, Load]]:
            return standings.paused(connection), standings.loads(connection, known, with_jobs=True)

        paused, loads = await self._database.read(read)
        return Answer(
            body=[
                {
                    "id": name,
                    "name": name,
                    "enable": name not in paused,
                    "coreSize": self._upstreams[name].jobs or self._upstreams[name].concurrency,
                    "queueSize": 10,
                    "runningCount": loads[name].jobs if name in loads else 0,
                    "properties": {},
                }
                for name in known
            ]
        )
