"""/api/rules and /api/plugins: the receivers that run in this process, and the results of their deliveries."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request

from hooks.api import shapes
from hooks.api.reports import Loaded, Plugins, Receiver, Rules
from storage.engine import Database
from storage.reading import pages

GetLoaded = Callable[[], Loaded]
"""Returns the rules and plugins that run in this process now."""


class LoadedReceivers:
    """Handlers for the rules and plugins of this process."""

    def __init__(self, database: Database, get_loaded: GetLoaded) -> None:
        self._database = database
        self._get_loaded = get_loaded

    async def rules(self, _request: Request) -> tuple[int, Rules]:
        """Return the rules that run, how often each fired, and whether the file on disk is the one in use."""
        loaded = self._get_loaded()
        return 200, shapes.extended(Rules, loaded.rules, receivers=await self._receivers(loaded, "rule:"))

    async def plugins(self, _request: Request) -> tuple[int, Plugins]:
        """Return what is loaded and from where, its signals, and the results of its deliveries."""
        loaded = self._get_loaded()
        receivers = await self._receivers(loaded, "")
        return 200, Plugins(plugins=loaded.plugins, warnings=loaded.warnings, receivers=receivers)

    async def _receivers(self, loaded: Loaded, prefix: str) -> list[Receiver]:
        counted = await self._database.read(pages.deliveries_by_receiver)
        return [receiver for receiver in receivers_of(loaded, counted) if receiver.name.startswith(prefix)]


def receivers_of(loaded: Loaded, counted: Mapping[str, Mapping[str, int]]) -> list[Receiver]:
    """Return each receiver that runs here or has deliveries, by name, with its deliveries by state."""
    return [
        Receiver(
            name=name,
            loaded=name in loaded.receivers,
            signals=loaded.receivers.get(name, []),
            **counted.get(name, {}),
        )
        for name in sorted({*loaded.receivers, *counted})
    ]
