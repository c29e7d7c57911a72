"""The whole application over a real database, without the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dispatcher.signals import SIGNALS
from hookchain.settings import load_settings
from hookchain.wiring import connect_receivers, hook_url, running
from storage.engine import Database


class Site:
    """The application: `http` speaks to it, `hook` is the path that upstream "main" posts to."""

    def __init__(self, http: httpx.AsyncClient, database: Database, hook: str) -> None:
        self.http = http
        self.database = database
        self.hook = hook


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Started without rules and without a worker, for one upstream that nobody asks."""
    settings = load_settings(
        {
            "HOOKCHAIN_SECRET": "s",
            "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
            "DATABASE_URL": f"sqlite:///{tmp_path}/hookchain.db",
        },
        tmp_path,
    )
    async with running(settings, connect_receivers(settings), with_worker=False) as server:
        server.database.hear_only(frozenset(SIGNALS))
        transport = httpx.ASGITransport(server.application, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Site(
                http, server.database, hook_url(settings, "s", "main").removeprefix(settings.hook_base)
            )
