"""The dashboard, put together from settings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from dispatcher.chain import Place
from hookchain.asking import dialects_of
from hookchain.findings import finding
from hookchain.settings import SANDBOX, Settings
from hooks.api.decisions import Loaded
from hooks.auth import notify_token
from hooks.dashboard.desk import Desk, Hook
from storage import health
from storage.engine import Database

_HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")


def desk_of(
    settings: Settings, database: Database, secret: str, places: Mapping[str, Place], loaded: Loaded
) -> Desk:
    """What all screens work with."""
    return Desk(
        database=database,
        upstreams=settings.upstreams,
        dialects=dialects_of(settings),
        places=places,
        prices={name: upstream.prices for name, upstream in settings.upstreams.items()},
        budget=settings.budget,
        hooks=[_hook(settings, secret, name) for name in settings.upstreams],
        loaded=loaded,
        examine=partial(_examine, settings, database, secret),
        is_locked=bool(settings.admin_token),
        disk_warning=settings.disk_warning,
    )


def _hook(settings: Settings, secret: str, name: str) -> Hook:
    return Hook(
        name=name,
        url=settings.upstreams[name].url,
        address=f"{settings.hook_base}/notify/{notify_token(secret, name)}",
        is_public=urlsplit(settings.hook_base).hostname not in _HERE,
        is_sandbox=name == SANDBOX,
    )


async def _examine(settings: Settings, database: Database, secret: str, name: str) -> dict[str, Any]:
    came_at_ms = await database.read(lambda connection: health.last_call_ms(connection, name))
    address = _hook(settings, secret, name).address
    return await finding(settings, settings.upstreams[name], (address, came_at_ms))
