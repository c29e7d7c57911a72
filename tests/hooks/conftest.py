"""The whole application over a real database, without the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from dispatcher.plugins.signals import SIGNALS
from hookchain.settings.load import load_settings
from hookchain.wiring import connect_receivers, hook_url, running
from storage.engine import Database

FROM_OUR_PAGE = {"sec-fetch-site": "same-origin"}
"""How a browser marks what a page of ours has it send."""


class Site:
    """The application: `http` speaks to it, `hook` is the path that upstream "main" posts to, `hooks` are those of all."""

    def __init__(self, http: httpx.AsyncClient, database: Database, hooks: dict[str, str]) -> None:
        self.http = http
        self.database = database
        self.hooks = hooks
        self.hook = hooks["main"]


@asynccontextmanager
async def site_of(directory: Path, **settings: str) -> AsyncIterator[Site]:
    """Started without rules and without a worker, for one upstream that nobody asks, or with settings of one's own."""
    environment = {
        "HOOKCHAIN_SECRET": "s",
        "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
        "DATABASE_URL": f"sqlite:///{directory}/hookchain.db",
    }
    loaded = load_settings(environment | settings, directory)
    async with running(loaded, connect_receivers(loaded), with_worker=False) as server:
        server.database.fan_out_only(frozenset(SIGNALS))
        transport = httpx.ASGITransport(server.application, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=FROM_OUR_PAGE
        ) as http:
            hooks = {name: hook_url(loaded, "s", name) for name in loaded.upstreams}
            paths = {name: url.removeprefix(loaded.hook_base) for name, url in hooks.items()}
            yield Site(http, server.database, paths)


@pytest.fixture(autouse=True)
def no_plugins_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever plugins are installed, no site loads them; to look for them takes longer than all else of a start."""
    monkeypatch.setattr("dispatcher.plugins.discovery.entry_points", lambda *, group: ())


@pytest.fixture
async def site(new_database: Path) -> AsyncIterator[Site]:
    """One as it is by itself."""
    async with site_of(new_database) as site:
        yield site
