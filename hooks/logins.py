"""Reads from the database what logging in needs: the administrator's token, and which sessions and links have ended."""

from __future__ import annotations

import hashlib
import hmac

from storage import clock, logins
from storage.engine import Database

READ_EVERY_S = 1.0
"""How long a server may still accept a token that another process has replaced."""

LINK_LIFE_S = 15 * 60
"""Lifetime of a login link."""


class Logins:
    """The administrator's token, and the sessions and links that have ended.

    `configured` is the token from the settings. Without one, the token in the database is used; it is made there if `needs_token`.
    A token in the database stays in force even if the settings no longer require one, because removing a setting must not open
    everything.
    """

    def __init__(self, database: Database, configured: str, *, needs_token: bool) -> None:
        self._database = database
        self._follows_database = not configured
        self._needs_token = needs_token
        self.token = configured
        self.was_made = False

    async def begin(self) -> None:
        """Make the token if one is needed and there is none; `was_made` is then True. Raises `NotDurable`."""
        if self._follows_database and self._needs_token:
            self.token, self.was_made = await self._database.write("admin token", logins.make_token)
        await self.read()

    async def read(self) -> None:
        """Read a token that another process made or replaced. Raises `NotDurable`; the token read before stays in use then."""
        if self._follows_database:
            stored = await self._database.read(logins.token)
            self.token = stored or self.token

    async def has_ended(self, name: str) -> bool:
        """True if a session was ended. Reads the database each time, so that logging out takes effect on every server at once.

        Raises `NotDurable`.
        """
        return await self._database.read(lambda connection: logins.has_ended(connection, name))

    async def end(self, name: str, until_ms: int) -> bool:
        """End a session, or use up a link; False if it had already ended. Raises `NotDurable`."""
        return await self._database.write(
            "log out", lambda connection: logins.end(connection, name, until_ms, clock.now_ms())
        )


def key_of(secret: str, token: str) -> bytes:
    """Return the key that signs sessions and links. It depends on the token, so a new token ends them all."""
    return hmac.digest(secret.encode(), b"session:" + token.encode(), hashlib.sha256)


def signature(key: bytes, text: str) -> str:
    """Return 40 characters that nobody can make without the key."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:40]
