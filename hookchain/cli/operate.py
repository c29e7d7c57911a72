"""`hookchain pause`, `resume` and `migrate`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Literal, Protocol

import typer

from hookchain.cli.api import Server, operating
from hookchain.cli.output import say
from hookchain.exposure import check_token
from hookchain.rules import rules_of
from hookchain.settings.load import Settings, SettingsError, load_settings
from hookchain.wiring import DATABASE_WAIT_S, open_database
from hooks.api.reports import Switched, Upstreams
from storage import clock
from storage.engine import Connection
from storage.events import packing
from storage.migrate import migrate as migrate_database
from storage.upstreams import standings

UNPACKED_AT_ONCE = 500
"""Events whose payloads one transaction unpacks."""


def migrate(
    unpack: Annotated[
        bool,
        typer.Option(
            "--unpack", help="Also unpack all payloads, to go back to a release that cannot read packed ones."
        ),
    ] = False,
) -> None:
    """Update the database schema to this release.

    Fails if a rule is invalid or the administrator's token is weak, so that a platform does not release a version that cannot
    start. Stop every other process of hookchain before you unpack: a worker packs again.
    """
    settings = load_settings()
    check_token(settings)
    rules_of(settings)
    revision = migrate_database(settings.database_url, patience_s=DATABASE_WAIT_S)
    say(f"the database is at revision {revision}")
    if unpack:
        asyncio.run(_unpack(settings))
        say("all payloads are unpacked")


async def _unpack(settings: Settings) -> None:
    database = await open_database(settings)
    try:
        after: int | None = 0
        while after is not None:
            after = await database.write("unpack", partial(packing.undo, after=after, most=UNPACKED_AT_ONCE))
    finally:
        await database.close()


def pause(upstream: Annotated[str, typer.Argument(help="Upstream to pause; all if omitted.")] = "") -> None:
    """Stop submitting to an upstream. Submissions wait; callbacks are still received."""
    _switch(upstream, "pause")


def resume(upstream: Annotated[str, typer.Argument(help="Upstream to resume; all if omitted.")] = "") -> None:
    """Start submitting again.

    Ends a pause by `hookchain pause`, or by hookchain itself because of a problem with the account.
    """
    _switch(upstream, "resume")


def _switch(upstream: str, action: Literal["pause", "resume"]) -> None:
    found = operating()
    server = Server(found.server())
    is_up = server.is_up()
    # A server knows the upstreams that it submits to; the file may have changed since its start, or have a mistake.
    known = _upstreams_of(server) if is_up else list(found.upstreams)
    if upstream and upstream not in known:
        raise SettingsError(f"no upstream {upstream!r}; there are: {', '.join(known)}")
    names = [upstream] if upstream else known
    if is_up:
        for name in names:
            server.post(f"/api/upstreams/{name}/{action}", Switched)
    else:
        switch = standings.pause if action == "pause" else standings.resume
        asyncio.run(_switch_in_database(found.database(), names, switch))
    say("\n".join(f"{name}: {action}d" for name in names))


def _upstreams_of(server: Server) -> list[str]:
    return [state.name for state in server.get("/api/upstreams", Upstreams).upstreams]


class Switch(Protocol):
    """Pauses or resumes an upstream in the database."""

    def __call__(self, connection: Connection, upstream: str, now_ms: int) -> None:
        """Write the new state."""


async def _switch_in_database(settings: Settings, names: list[str], switch: Switch) -> None:
    database = await open_database(settings)
    try:
        now_ms = clock.now_ms()
        units = [("command", partial(switch, upstream=name, now_ms=now_ms)) for name in names]
        await database.write_together(*units)
    finally:
        await database.close()
