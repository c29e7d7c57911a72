"""Background loops of a server: store refusal counts, and reload tokens, logins and clients' keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from dispatcher.loops.count_traffic import LAST_WITHIN_S
from dispatcher.loops.loop import Loop
from hookchain.exposure import needs_token
from hookchain.settings.load import Settings
from hooks.gateway.clients import READ_EVERY_S as KEYS_EVERY_S
from hooks.gateway.clients import Clients
from hooks.hook_tokens import READ_EVERY_S, NotifyTokens
from hooks.logins import READ_EVERY_S as LOGINS_EVERY_S
from hooks.logins import Logins
from hooks.refusals import FLUSH_EVERY_S, Refusals
from storage.engine import Database
from storage.errors import NotDurable
from storage.upstreams import hook_salts
from storage.upstreams.hook_salts import HookSalts

log = structlog.get_logger("hookchain")


@asynccontextmanager
async def counting_refusals(database: Database) -> AsyncIterator[Refusals]:
    """The counter of refused callbacks, stored every second and at the end."""
    refusals = Refusals(database)
    loop = Loop("refusals", refusals.flush, interval_s=FLUSH_EVERY_S)
    loop.start()
    try:
        yield refusals
    finally:
        await loop.stop(LAST_WITHIN_S)
        try:
            async with asyncio.timeout(LAST_WITHIN_S):
                await refusals.flush()
        except (NotDurable, TimeoutError) as error:
            log.error("refused callbacks of the last second may not be counted", why=str(error))


@asynccontextmanager
async def refreshing_tokens(
    settings: Settings, database: Database, secret: str
) -> AsyncIterator[NotifyTokens]:
    """The tokens of all hooks, reloaded so that a rotation takes effect within a second."""

    async def salts() -> dict[str, HookSalts]:
        return await database.read(lambda connection: hook_salts.find(connection, settings.upstreams))

    tokens = NotifyTokens(secret, settings.upstreams, salts)
    await tokens.read()
    loop = Loop("hooks", tokens.read, interval_s=READ_EVERY_S)
    loop.start()
    try:
        yield tokens
    finally:
        await loop.stop(LAST_WITHIN_S)


@asynccontextmanager
async def refreshing_logins(settings: Settings, database: Database) -> AsyncIterator[Logins]:
    """The administrator's token, reloaded so that a change by another server or command takes effect within a second."""
    logins = Logins(database, settings.admin_token, needs_token=bool(needs_token(settings)))
    await logins.begin()
    loop = Loop("logins", logins.read, interval_s=LOGINS_EVERY_S)
    loop.start()
    try:
        yield logins
    finally:
        await loop.stop(LAST_WITHIN_S)


@asynccontextmanager
async def refreshing_clients(clients: Clients | None) -> AsyncIterator[None]:
    """Reload the keys of the gateway's clients, so that a revoked key opens nothing a second later."""
    if clients is None:
        yield
        return
    loop = Loop("clients' keys", clients.read, interval_s=KEYS_EVERY_S)
    loop.start()
    try:
        yield
    finally:
        await loop.stop(LAST_WITHIN_S)
        try:
            async with asyncio.timeout(LAST_WITHIN_S):
                await clients.note_uses()
        except (NotDurable, TimeoutError) as error:
            log.error("it may not be noted when clients' keys were last used", why=str(error))
