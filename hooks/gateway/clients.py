"""Finds the client of the gateway that a request's key belongs to: keys of the configuration file, and stored ones.

A stored key is found by its hash, and has 256 random bits. A key of the file may be one that somebody can guess (`is_weak`), so
wrong keys are counted; a weak key then has to wait, and nobody else: see hooks/login_attempts.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from dispatcher.tickets.clients import Client
from hooks.login_attempts import LoginAttempts
from hooks.problems import Problem
from hooks.strength import is_weak
from storage import clock
from storage.clients import keys
from storage.engine import Database
from storage.records.clients import StoredKey

READ_EVERY_S = 1.0
"""How long a key that another process revoked may still be valid here."""

READ_AGAIN_S = 1.0
"""Least time between two reads that unknown keys cause: strangers must not keep the database busy."""

MOST_WAITING = 64
"""Requests with an unknown key that wait for such a read. Further ones are matched against the keys read last."""

NOTE_USES_EVERY_S = 60.0

_HEADERS = (b"mj-api-secret", b"x-ptoken")
"""Headers that hold a key alone: of the API, and of the page of Dooy/chatgpt-web-midjourney-proxy 969a9e5 (`src/api/mjapi.ts`)."""


class TooManyWrongKeys(Exception):
    """Too many wrong keys came from an address, or from all together, within a minute."""


def presented(headers: Iterable[tuple[bytes, bytes]], path_key: str = "") -> str:
    """The key of a request: in its path, else `mj-api-secret`, `x-ptoken`, or `Authorization` with or without "Bearer"; "" if none.

    The path goes first: an operator who put a key there means it, whatever a client without a field for keys sends besides.
    """
    if path_key:
        return path_key
    given = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    for name in _HEADERS:
        if key := given.get(name):
            return key
    scheme, _, rest = given.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    # Another scheme, such as Basic, belongs to a proxy in front of us.
    return "" if rest else scheme


class Clients:
    """The clients and their keys. `configured`: the clients of the settings; one that has stored keys only has the defaults."""

    def __init__(self, configured: Mapping[str, Client], database: Database) -> None:
        self._configured = configured
        self._database = database
        self._digests = [
            (hashlib.sha256(client.key.encode()).digest(), is_weak(client.key), client)
            for client in configured.values()
            if client.key
        ]
        self._stored: dict[str, StoredKey] = {}
        self._used_at_ms: dict[str, int] = {}
        self._uses_noted_at_s = 0.0
        self._attempts = LoginAttempts()
        self._read_at_s = 0.0
        self._next_read: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def has_stored_keys(self) -> bool:
        """True if a stored key is valid, as read last."""
        return bool(self._stored)

    def named(self, name: str) -> Client:
        """The client with this name: with the defaults, if the settings do not have it."""
        return self._configured.get(name) or Client(name=name)

    async def find(self, key: str, address: str = "") -> Client | None:
        """The client with this key, which came from this address; None if there is none.

        Raises `TooManyWrongKeys`, never for a key that nobody can guess, and `NotDurable` if an unknown key cannot be looked up.
        """
        if not key:
            return None
        client = self._match(key, address)
        if client is None:
            self._count(address, is_wrong=False)
            await self._read_again()
            client = self._match(key, address)
        if client is None:
            self._count(address, is_wrong=True)
        return client

    async def read(self) -> None:
        """Read the stored keys, and store now and then which were used. Raises `NotDurable`; the keys read before stay in use then."""
        self._read_at_s = asyncio.get_running_loop().time()
        now_ms = clock.now_ms()
        found = await self._database.read(lambda connection: keys.valid(connection, now_ms))
        self._stored = {stored.hash: stored for stored in found}
        if self._used_at_ms and self._read_at_s - self._uses_noted_at_s >= NOTE_USES_EVERY_S:
            await self.note_uses()

    async def note_uses(self) -> None:
        """Store when keys were used last. Raises `NotDurable`; what was not stored is kept for the next time."""
        used, self._used_at_ms = self._used_at_ms, {}
        self._uses_noted_at_s = asyncio.get_running_loop().time()
        try:
            await self._database.write("keys used", lambda connection: keys.note_uses(connection, used))
        except BaseException:
            self._used_at_ms = used | self._used_at_ms
            raise

    def _match(self, key: str, address: str) -> Client | None:
        digest = hashlib.sha256(key.encode())
        found: Client | None = None
        # Compares with all of them, so that the time taken does not show which one matches.
        for known, weak, client in self._digests:
            if hmac.compare_digest(known, digest.digest()):
                found = client
                if weak:
                    self._count(address, is_wrong=False)
        if found is not None:
            return found
        stored = self._stored.get(digest.hexdigest())
        now_ms = clock.now_ms()
        if stored is None or not stored.is_valid(now_ms):
            return None
        self._used_at_ms[stored.hash] = now_ms
        return self.named(stored.client)

    def _count(self, address: str, *, is_wrong: bool) -> None:
        try:
            if is_wrong:
                self._attempts.note(address)
            else:
                self._attempts.check(address)
        except Problem as error:
            raise TooManyWrongKeys("too many wrong keys; wait a minute") from error

    async def _read_again(self) -> None:
        """Read the stored keys because of an unknown key, once for all that wait; those that come after a read began wait for the next."""
        if self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        try:
            if self._next_read is None:
                self._next_read = asyncio.create_task(self._read_soon())
            await asyncio.shield(self._next_read)
        finally:
            self._waiting -= 1

    async def _read_soon(self) -> None:
        await asyncio.sleep(self._read_at_s + READ_AGAIN_S - asyncio.get_running_loop().time())
        self._next_read = None
        await self.read()
