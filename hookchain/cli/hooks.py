"""`hookchain url`: print, rotate and retire the notifyHook URL to register at each upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from hookchain.cli.api import operating
from hookchain.cli.output import say, say_json
from hookchain.settings.lenient import OF_LINKS
from hookchain.settings.load import Settings, SettingsError
from hookchain.wiring import hook_url, open_database, secret_of
from storage import settings as stored
from storage.engine import Connection
from storage.upstreams import hook_salts
from storage.upstreams.hook_salts import HookSalts

OLD = "old_still_valid"
"""The key in the JSON output with the number of older hooks that are still valid, by upstream."""


class _Hook(msgspec.Struct, frozen=True):
    url: str
    old: int


def url(
    upstream: Annotated[str, typer.Argument(help="Upstream; all if omitted.")] = "",
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Make a new hook. The old ones stay valid until they are retired."),
    ] = False,
    retire: Annotated[
        bool, typer.Option("--retire", help="End all hooks but the newest, on all servers within seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the notifyHook URL to register at each upstream.

    To replace one, for example because it has leaked: run `hookchain url --rotate`, register the new URL, then run
    `hookchain url --retire`. The hooks that hookchain sends along with its submissions stay as they are.
    """
    if rotate and retire:
        raise SettingsError(
            "--rotate and --retire cannot be combined: register the new hook before you retire the old one"
        )
    found = operating(OF_LINKS)
    settings, known = found.links(), list(found.upstreams)
    if upstream and upstream not in known:
        raise SettingsError(f"no upstream {upstream!r}; there are: {', '.join(known)}")
    names = [upstream] if upstream else known
    hooks = asyncio.run(_hooks(settings, names, "rotate" if rotate else "retire" if retire else ""))
    if as_json:
        say_json(_as_json(hooks), indent=None)
    else:
        for name, hook in hooks.items():
            say(f"{name}\t{hook.url}")
    for line in _what_to_do(hooks, rotated=rotate, retired=retire):
        say(line, to_errors=True)


async def _hooks(settings: Settings, names: Sequence[str], change: str) -> dict[str, _Hook]:
    def salts_of(connection: Connection) -> dict[str, HookSalts]:
        if change == "rotate":
            return {name: hook_salts.rotate(connection, name) for name in sorted(names)}
        if change == "retire":
            return {name: hook_salts.retire(connection, name) for name in sorted(names)}
        return hook_salts.find(connection, names)

    database = await open_database(settings)
    try:
        secret = await secret_of(settings, database)
        salts = await database.write("command", salts_of) if change else await database.read(salts_of)
        if not settings.known_url and (address := await database.read(stored.address)):
            # The address that the server stored when it started.
            settings = msgspec.structs.replace(settings, public_url=address)
    finally:
        await database.close()
    return {
        name: _Hook(hook_url(settings, secret, name, salts[name].present), len(salts[name].valid) - 1)
        for name in names
    }


def _as_json(hooks: dict[str, _Hook]) -> dict[str, str | dict[str, int]]:
    """The URLs by upstream, and under `OLD` the numbers of old hooks that are still valid, if any."""
    old = {name: hook.old for name, hook in hooks.items() if hook.old}
    return {name: hook.url for name, hook in hooks.items()} | ({OLD: old} if old else {})


def _what_to_do(hooks: dict[str, _Hook], *, rotated: bool, retired: bool) -> list[str]:
    """Lines about what to do next."""
    if retired:
        return [
            "Callbacks to older hooks are now refused; `hookchain upstreams` shows which upstreams still send them."
        ]
    lines = []
    for name, hook in hooks.items():
        if not hook.old:
            continue
        counted = "1 older hook is" if hook.old == 1 else f"{hook.old} older hooks are"
        register = f"Register the new hook at {name} now. " if rotated else ""
        lines.append(
            f"{register}{counted} still valid for {name}; when nothing uses them any more, run `hookchain url --retire`."
        )
    return lines
