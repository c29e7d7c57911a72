"""The keys of clients: random, stored as a hash, and valid until they are revoked or an overlap after a rotation ends."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from sqlalchemy import Connection

from storage.clients import sql
from storage.errors import TooManyKeys
from storage.records.clients import StoredKey

PREFIX = "hck_"
RANDOM_BYTES = 32
HINT_CHARACTERS = len(PREFIX) + 6

MOST_VALID = 1000
"""Most valid keys: every server reads all of them each second."""


def hash_of(key: str) -> str:
    """The form in which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def add(connection: Connection, client: str, now_ms: int) -> tuple[str, StoredKey]:
    """Make a key. It is returned here and can never be read again. Raises `TooManyKeys`."""
    if sql.COUNT_VALID.one(connection, now_ms=now_ms) >= MOST_VALID:
        raise TooManyKeys(
            f"there are {MOST_VALID} valid keys, which is the maximum: end some with `hookchain keys revoke`"
        )
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    stored = StoredKey(hash=hash_of(key), client=client, hint=key[:HINT_CHARACTERS], created_at_ms=now_ms)
    values = {name: getattr(stored, name) for name in StoredKey.__struct_fields__}
    sql.ADD(connection, **values)
    return key, stored


def valid(connection: Connection, now_ms: int) -> list[StoredKey]:
    """All keys that are valid now, also those that will end soon."""
    return sql.VALID.all(connection, now_ms=now_ms)


def listed(connection: Connection) -> list[StoredKey]:
    """All keys, revoked ones too, by client."""
    return sql.ALL.all(connection)


def revoke(connection: Connection, given: str, now_ms: int) -> list[StoredKey]:
    """End the valid key with this id, with this hint, or this key itself. Returns the keys that match; if they are not exactly
    one, nothing is ended."""
    matching = [
        stored
        for stored in valid(connection, now_ms)
        if given in (stored.id, stored.hint, stored.hint.removeprefix(PREFIX))
        or hash_of(given) == stored.hash
    ]
    if len(matching) == 1:
        sql.REVOKE(connection, hash=matching[0].hash, at_ms=now_ms, now_ms=now_ms)
    return matching


def rotate(
    connection: Connection, client: str, *, overlap_ms: int, now_ms: int
) -> tuple[str, StoredKey] | None:
    """Make a new key, and end the client's others after the overlap, or when they end anyway. None if it has no valid key.
    Raises `TooManyKeys`."""
    if not any(stored.client == client for stored in valid(connection, now_ms)):
        return None
    sql.END_OF_CLIENT(connection, client=client, at_ms=now_ms + overlap_ms)
    return add(connection, client, now_ms)


def note_uses(connection: Connection, used_at_ms: Mapping[str, int]) -> None:
    """Store when the keys with these hashes were used last."""
    sql.USED.many(connection, [{"hash": name, "at_ms": at_ms} for name, at_ms in sorted(used_at_ms.items())])
