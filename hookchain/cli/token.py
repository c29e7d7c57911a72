"""`hookchain token`: print or replace the administrator's token."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from hookchain.cli.api import CallFailed
from hookchain.cli.output import say
from hookchain.exposure import login_link, needs_token
from hookchain.settings.load import Settings, SettingsError, load_settings
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
    settings = load_settings()
    if rotate and settings.admin_token:
        raise SettingsError(
            "HOOKCHAIN_ADMIN_TOKEN sets the token: change the variable, or unset it to let hookchain make a token"
        )
    text, link = asyncio.run(_token_and_link(settings, rotate=rotate))
    say(text)
    say(f"Log in once, within {LINK_LIFE_S // 60} minutes: {link}", to_errors=True)


async def _token_and_link(settings: Settings, *, rotate: bool) -> tuple[str, str]:
    """The token, and a one-time login link. Raises `CallFailed` if the server needs no token."""

    def stored_token(connection: Connection) -> str:
        if rotate:
            return logins.replace_token(connection)
        return logins.make_token(connection)[0] if needs_token(settings) else logins.token(connection) or ""

    database = await open_database(settings)
    try:
        text = settings.admin_token or await database.write("admin token", stored_token)
        if not text:
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
