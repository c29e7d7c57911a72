"""`hookchain url`, `pause`, `resume`, `migrate`: what an operator types."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Annotated, Literal, Protocol

import msgspec
import typer

from hookchain.cli.api import Server
from hookchain.rules import rules_of
from hookchain.settings import SANDBOX, Settings, SettingsError, load_settings
from hookchain.wiring import PATIENCE_S, hook_url, open_database, secret_of
from storage import settings as stored
from storage import upstreams
from storage.engine import Connection
from storage.migrate import migrate as migrate_database

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def url(as_json: AsJson = False) -> None:
    """Print the notifyHook URL to register at each upstream."""
    settings = load_settings()
    urls = asyncio.run(_urls(settings))
    if as_json:
        print(json.dumps(urls))
    else:
        for name, address in urls.items():
            print(f"{name}\t{address}")


async def _urls(settings: Settings) -> dict[str, str]:
    database = await open_database(settings)
    try:
        secret = await secret_of(settings, database)
        if not settings.known_url and (address := await database.read(stored.address)):
            settings = msgspec.structs.replace(settings, public_url=address)  # where the server listens
    finally:
        await database.close()
    return {name: hook_url(settings, secret, name) for name in settings.upstreams or (SANDBOX,)}


def migrate() -> None:
    """Update the database schema to this release.

    Fails if a rule is invalid, so that a platform does not release it.
    """
    settings = load_settings()
    rules_of(settings)
    revision = migrate_database(settings.database_url, patience_s=PATIENCE_S)
    print(f"the database is at revision {revision}")


def pause(upstream: Annotated[str, typer.Argument(help="Upstream to pause; all if omitted.")] = "") -> None:
    """Stop submitting to an upstream. Submissions wait; callbacks are still received."""
    _switch(upstream, "pause")


def resume(upstream: Annotated[str, typer.Argument(help="Upstream to resume; all if omitted.")] = "") -> None:
    """Start submitting again after `pause`."""
    _switch(upstream, "resume")


def _switch(upstream: str, what: Literal["pause", "resume"]) -> None:
    settings = load_settings()
    known = list(settings.upstreams or (SANDBOX,))
    if upstream and upstream not in known:
        raise SettingsError(f"no upstream {upstream!r}; there are: {', '.join(known)}")
    names = [upstream] if upstream else known
    server = Server(settings)
    if server.is_up():
        for name in names:
            server.post(f"/api/upstreams/{name}/{what}")
    else:
        asyncio.run(_switch_stored(settings, names, upstreams.pause if what == "pause" else upstreams.resume))
    print("\n".join(f"{name}: {what}d" for name in names))


class Switch(Protocol):
    """Pauses or resumes an upstream in the database."""

    def __call__(self, connection: Connection, upstream: str) -> None:
        """Do it."""


async def _switch_stored(settings: Settings, names: list[str], switch: Switch) -> None:
    database = await open_database(settings)
    try:
        await database.write_together(*(("command", partial(switch, upstream=name)) for name in names))
    finally:
        await database.close()
