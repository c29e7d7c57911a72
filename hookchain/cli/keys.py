"""`hookchain keys`: the stored keys of the gateway's clients. Works on the database directly, whether or not a server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
import typer

from hookchain.cli.api import CallFailed, operating
from hookchain.cli.output import say, say_json
from hookchain.cli.table import say_rows
from hookchain.printable import printable
from hookchain.settings.clients import check_client_name
from hookchain.settings.load import Settings
from hookchain.wiring import open_database
from hooks.times import when
from storage import clock
from storage.clients import keys as stored_keys
from storage.engine import Connection
from storage.records.clients import StoredKey

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ClientName = Annotated[str, typer.Argument(metavar="CLIENT", help="Name of the client.")]

DAY_S = 24 * 3600

keys = typer.Typer(help="Add, list, revoke or rotate clients' keys.", no_args_is_help=True)


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was made, the only time that it is shown."""

    key: str
    client: str
    id: str
    hint: str


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key, as `list` shows it."""

    id: str
    hint: str
    client: str
    created_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    is_valid: bool


@keys.command("add")
def add_key(client: ClientName, as_json: AsJson = False) -> None:
    """Make a key for a client, and print it this one time.

    The database stores only its hash. Standard output has nothing but the key."""
    check_client_name(client)
    found = operating()
    settings = found.database()
    made = _write(settings, lambda connection: stored_keys.add(connection, client, clock.now_ms()))
    _show(made, as_json=as_json)
    if client not in settings.clients and not found.mistake:
        say(
            f"The defaults apply to {client}, because the settings have no [clients.{client}].",
            to_errors=True,
        )


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List all stored keys by client, revoked ones too.

    Keys in the configuration file are not listed."""
    found = _write(operating().database(), stored_keys.listed)
    now_ms = clock.now_ms()
    if as_json:
        say_json([_shown(stored, now_ms) for stored in found])
        return
    say_rows([_row(stored, now_ms) for stored in found])
    if not found:
        say("no stored keys")


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id or hint of the key as printed by `list`.")],
) -> None:
    """Revoke a key. Running servers refuse it within a second."""
    settings = operating().database()
    matching = _write(settings, lambda connection: stored_keys.revoke(connection, key, clock.now_ms()))
    if not matching:
        raise CallFailed("there is no valid key with this id or hint; `hookchain keys list` lists all")
    if len(matching) > 1:
        raise CallFailed(
            f"the hint fits several keys; revoke one by its id: {', '.join(one.id for one in matching)}"
        )
    say(f"{matching[0].id}: the key {matching[0].hint}… of {printable(matching[0].client)} is revoked")


@keys.command("rotate")
def rotate_key(
    client: ClientName,
    overlap: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=30 * DAY_S,
            help="How long the client's other stored keys stay valid.",
        ),
    ] = DAY_S,
    as_json: AsJson = False,
) -> None:
    """Make a new key for a client, and revoke its other stored keys.

    The old keys stay valid for the overlap, so that you can change the client in that time."""
    settings = operating().database()
    made = _write(
        settings,
        lambda connection: stored_keys.rotate(
            connection, client, overlap_ms=round(1000 * overlap), now_ms=clock.now_ms()
        ),
    )
    if made is None:
        raise CallFailed(
            f"{printable(client)} has no valid stored key to rotate; `hookchain keys add {printable(client)}` makes one"
        )
    _show(made, as_json=as_json)
    configured = settings.clients.get(client)
    if configured is not None and configured.key:
        say(f"The key of [clients.{client}] in the settings stays valid.", to_errors=True)


def _write(settings: Settings, work: Callable[[Connection], T]) -> T:
    async def write() -> T:
        database = await open_database(settings)
        try:
            return await database.write("client keys", work)
        finally:
            await database.close()

    return asyncio.run(write())


def _show(made: tuple[str, StoredKey], *, as_json: bool) -> None:
    key, stored = made
    if as_json:
        say_json(NewKey(key=key, client=stored.client, id=stored.id, hint=stored.hint))
        return
    say(key)
    say(f"This is the key of {stored.client}. It is not shown again.", to_errors=True)


def _row(stored: StoredKey, now_ms: int) -> list[str]:
    used = when(stored.last_used_at_ms) if stored.last_used_at_ms is not None else "never used"
    hint, created = f"{stored.hint}…", when(stored.created_at_ms) or ""
    return [stored.id, hint, stored.client, created, used or "", _state(stored, now_ms)]


def _shown(stored: StoredKey, now_ms: int) -> KeyShown:
    return KeyShown(
        id=stored.id,
        hint=stored.hint,
        client=stored.client,
        created_at=when(stored.created_at_ms),
        revoked_at=when(stored.revoked_at_ms) if stored.revoked_at_ms is not None else None,
        last_used_at=when(stored.last_used_at_ms) if stored.last_used_at_ms is not None else None,
        is_valid=stored.is_valid(now_ms),
    )


def _state(stored: StoredKey, now_ms: int) -> str:
    if stored.revoked_at_ms is None:
        return "valid"
    return f"{'valid until' if stored.is_valid(now_ms) else 'revoked'} {when(stored.revoked_at_ms)}"
