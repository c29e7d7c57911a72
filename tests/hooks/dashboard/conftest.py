"""A site with the gateway on, for pages of clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hooks.conftest import Site, site_of
from tests.hooks.dashboard.gateway import TOML


@pytest.fixture
async def shop(new_database: Path) -> AsyncIterator[Site]:
    """With two clients, and without a worker."""
    (new_database / "hookchain.toml").write_text(TOML)
    async with site_of(new_database, HOOKCHAIN_UPSTREAM_URL="") as site:
        yield site


@pytest.fixture
async def shop_on(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """The same on either database."""
    (tmp_path / "hookchain.toml").write_text(TOML)
    async with site_of(tmp_path, HOOKCHAIN_UPSTREAM_URL="", DATABASE_URL=database_url) as site:
        yield site
