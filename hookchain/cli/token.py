"""`hookchain token`: print or replace the administrator's token."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from hookchain.cli.api import CallFailed, operating
from hookchain.cli.output import say
from hookchain.exposure import login_link, needs_token
from hookchain.settings.lenient import OF_LINKS
from hookchain.settings.load import Settings, SettingsError
from hookchain.wiring import open_database, secret_of
from hooks.logins import LINK_LIFE_S
from storage import logins
from storage import settings as stored
from storage.engine import Connection


def token(
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate",
            help="Make a new token. The old one and all sessions end on all servers within seconds.",
        ),
    ] = False,
) -> None:
    """Print the administrator's token, and a link to log in.

    The token opens the API and the dashboard; the link logs a browser in once. The token is printed alone on standard output, for scripts.
    """
    found = operating(OF_LINKS)
    settings = found.links()
    if rotate and settings.admin_token:
        raise SettingsError(
            "HOOKCHAIN_ADMIN_TOKEN sets the token: change the variable, or unset it to let hookchain make a token"
        )
    text, link = asyncio.run(_token_and_link(settings, rotate=rotate, may_make=not found.mistake))
    say(text)
    say(f"Log in once, within {LINK_LIFE_S // 60} minutes: {link}", to_errors=True)


async def _token_and_link(settings: Settings, *, rotate: bool, may_make: bool) -> tuple[str, str]:
    """The token, and a one-time login link. `may_make`: the settings are whole, so that they say whether there should be one. Raises `CallFailed` if the server needs no token."""

    def stored_token(connection: Connection) -> str:
        if rotate:
            return logins.replace_token(connection)
        if may_make and needs_token(settings):
            return logins.make_token(connection)[0]
        return logins.token(connection) or ""

    database = await open_database(settings)
    try:
        text = settings.admin_token or await database.write("admin token", stored_token)
        if not text:
            if not may_make:
                raise CallFailed("there is no token yet: correct the settings first")
            raise CallFailed(
                "there is no token: this server only answers this machine, so it does not need one"
            )
        secret = await secret_of(settings, database)
        if not settings.known_url and (address := await database.read(stored.address)):
            # The address that the server stored when it started.
            settings = msgspec.structs.replace(settings, public_url=address)
        return text, login_link(settings, secret, text)
    finally:
        await database.close()
