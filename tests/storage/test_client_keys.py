"""Stored keys of clients: made, found by their hash, ended."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from dispatcher.tickets.clients import Client
from hooks.gateway.clients import Clients, TooManyWrongKeys, presented
from storage import clock
from storage.clients import keys
from storage.engine import Database
from storage.records.clients import StoredKey


async def add(database: Database, client: str = "shop") -> tuple[str, StoredKey]:
    return await database.write("test", partial(keys.add, client=client, now_ms=clock.now_ms()))


async def test_a_key_is_stored_as_a_hash_only(database: Database) -> None:
    key, stored = await add(database)
    assert key.startswith("hck_")
    assert len(key) == 4 + 43
    (found,) = await database.read(keys.listed)
    assert found == stored
    assert key not in repr(found)
    assert (found.hash, found.hint) == (keys.hash_of(key), key[:10])


async def test_a_key_is_revoked_by_its_hint_its_id_or_itself(database: Database) -> None:
    """Anything else ends nothing."""
    for name in ("hint", "id", "key"):
        key, stored = await add(database)
        given = {"hint": stored.hint, "id": stored.id, "key": key}[name]
        ended = partial(keys.revoke, given=given, now_ms=clock.now_ms())
        assert await database.write("test", ended) == [stored]
        assert await database.write("test", ended) == []
    assert await database.read(partial(keys.valid, now_ms=clock.now_ms())) == []


async def test_rotation_lets_old_keys_work_for_the_overlap(database: Database) -> None:
    """Another client's key stays; one that ends sooner still does."""
    await add(database, "other")
    now_ms = clock.now_ms()
    assert (
        await database.write("test", partial(keys.rotate, client="shop", overlap_ms=9, now_ms=now_ms)) is None
    )
    old, _ = await add(database)
    for overlap_ms in (1000, 5000):
        assert await database.write(
            "test", partial(keys.rotate, client="shop", overlap_ms=overlap_ms, now_ms=now_ms)
        )
    ends = {one.hash: one.revoked_at_ms for one in await database.read(keys.listed) if one.client == "shop"}
    assert ends.pop(keys.hash_of(old)) == now_ms + 1000
    assert sorted(ends.values(), key=str) == [now_ms + 5000, None]
    assert len(await database.read(partial(keys.valid, now_ms=now_ms + 5000))) == 2


async def test_a_key_of_a_moment_ago_is_known_at_once_and_a_revoked_one_is_not(database: Database) -> None:
    """Without waiting for the next reading; a client that the settings do not have gets the defaults."""
    clients = Clients({"shop": Client(name="shop", rate=3)}, database)
    await clients.read()
    shop, stored = await add(database)
    other, _ = await add(database, "other")
    found = await asyncio.gather(clients.find(shop), clients.find(other), clients.find("hck_wrong"))
    assert [*found] == [Client(name="shop", rate=3), Client(name="other"), None]
    await clients.note_uses()
    used = {one.client: one.last_used_at_ms for one in await database.read(keys.listed)}
    assert None not in used.values()
    await database.write("test", partial(keys.revoke, given=stored.id, now_ms=clock.now_ms()))
    await clients.read()
    assert await clients.find(shop) is None


async def test_a_stranger_who_guesses_slows_no_key_that_cannot_be_guessed(database: Database) -> None:
    """After ten wrong keys from an address, a weak key from there has to wait, as the stranger has."""
    strong = "Zq8-vL2m_Xc93kPtB7wRy1Hs"
    configured = {"weak": Client(name="weak", key="password"), "strong": Client(name="strong", key=strong)}
    clients = Clients(configured, database)
    await clients.read()
    stored, _ = await add(database, "stored")
    assert await clients.find(stored, "192.0.2.1") == Client(name="stored")
    assert await clients.find("password", "192.0.2.1") == configured["weak"]
    wrong = await asyncio.gather(*(clients.find(f"guess {n}", "192.0.2.1") for n in range(10)))
    assert wrong == [None] * 10
    for refused in ("guess", "password"):
        with pytest.raises(TooManyWrongKeys):
            await clients.find(refused, "192.0.2.1")
    assert await clients.find(strong, "192.0.2.1") == configured["strong"]
    assert await clients.find(stored, "192.0.2.1") == Client(name="stored")
    assert await clients.find("password", "198.51.100.1") == configured["weak"]


@pytest.mark.parametrize(
    ("headers", "path_key", "key"),
    [
        ({"mj-api-secret": "k"}, "", "k"),
        ({"mj-api-secret": "", "x-ptoken": "k"}, "", "k"),
        ({"authorization": "Bearer k"}, "", "k"),
        ({"Authorization": "bearer  k"}, "", "k"),
        ({"authorization": "k"}, "", "k"),
        ({"authorization": "Basic dTpw"}, "", ""),
        ({"authorization": "Basic dTpw", "mj-api-secret": "k"}, "", "k"),
        ({"mj-api-secret": "other"}, "k", "k"),
        ({}, "", ""),
    ],
)
def test_a_key_is_read_where_clients_put_it(headers: dict[str, str], path_key: str, key: str) -> None:
    """In a header of the family, as a bearer token with or without its word, or in the path."""
    assert presented([(name.encode(), value.encode()) for name, value in headers.items()], path_key) == key
