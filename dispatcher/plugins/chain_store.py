"""`chain.store`: what plugins remember in a chain. It is read when a run begins, and written when the run ends, together with all that it staged.

A run works on values of its own, like on any dict. What it holds at the end is compared with what it held at the beginning, so a change inside a
list counts too. Pure: storage/deliveries/chain_stores.py says how two runs at once keep from losing a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self

import msgspec

from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.json_copies import NotJson, copied
from storage.records import StoreChange, StoredValues

MOST_BYTES = 65_536
"""The most that a chain may keep, as JSON."""

LONGEST_KEY = 200
"""The most characters of a key."""

MOST_SHOWN = 8
"""The most keys of which a decision tells what has become of them."""

SHOWN_CHARACTERS = 60
"""The most characters of a value that a decision shows."""


class ChainStore(MutableMapping[str, Any]):
    """A dict of JSON values: None, True, numbers, texts, and lists and dicts of these. Keys are texts.

    Whatever cannot be stored raises `GiveUp`, which names the key and what to write.
    """

    def __init__(self, content: str, receiver: str) -> None:
        self._values = _decoded(content)
        self._receiver = receiver

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_key(key)
        self._copied(key, value)
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __ior__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:
        self.update(values)
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ChainStore({self._values!r})"

    def content(self) -> str:
        """What it holds now, as JSON. Raises `GiveUp` if that cannot be stored."""
        values = {str.__str__(key): self._copied(key, value) for key, value in list(self._values.items())}
        content = msgspec.json.encode(values)
        if len(content) > MOST_BYTES:
            sizes = [(len(msgspec.json.encode(value)), key) for key, value in values.items()]
            largest = ", ".join(f"{_shown(repr(key))} with {size}" for size, key in sorted(sizes)[:-4:-1])
            raise self._refused(
                f"chain.store holds {len(content)} bytes of JSON, and may hold {MOST_BYTES}. The largest keys are "
                f"{largest}. Delete what is no longer needed; store addresses instead of pictures"
            )
        return content.decode()

    def _check_key(self, key: object) -> None:
        if not isinstance(key, str):
            raise self._refused(
                f'chain.store[{_shown(repr(key))}]: a key must be a text, such as chain.store["seen"]'
            )
        if not key:
            raise self._refused(
                f'chain.store[{key!r}]: an empty text cannot be a key; write a name, such as chain.store["seen"]'
            )
        if len(key) > LONGEST_KEY:
            raise self._refused(
                f"chain.store[{_shown(repr(key))}]: a key has at most {LONGEST_KEY} characters, not {len(key)}"
            )

    def _copied(self, key: str, value: object) -> Any:
        try:
            copied(key, MOST_BYTES)
            return copied(value, MOST_BYTES)
        except NotJson as error:
            raise self._refused(f"chain.store[{_shown(repr(key))}]{error.where}: {error}") from error

    def _refused(self, why: str) -> GiveUp:
        return GiveUp(f"{self._receiver}: {why}")


class StoreOfChain:
    """The part of a chain that plugins may keep values in."""

    id: str
    _asked_by: str
    _store: ChainStore | None = None
    _stored = StoredValues()
    _is_used = False

    def show_store(self, stored: StoredValues) -> None:
        """Let a receiver see and change these values."""
        self._store, self._stored = ChainStore(stored.content, self._asked_by), stored

    @property
    def store(self) -> ChainStore:
        """What plugins have kept for this chain: a dict of JSON values that all of them share. It is written when the receiver ends,
        together with what it requested; not if it fails. If another run has changed it meanwhile, the receiver runs again, and sees that
        change.

        Raises `GiveUp` if the event belongs to no chain.
        """
        if self._store is None:
            raise GiveUp(f"{self._asked_by}: this event belongs to no chain, so there is no chain.store")
        self._is_used = True
        return self._store

    @store.setter
    def store(self, values: ChainStore) -> None:
        if values is self._store and self._store is not None:  # chain.store |= {…}
            return
        raise GiveUp(
            f'{self._asked_by}: chain.store cannot be replaced. Write chain.store["seen"] = …, or chain.store.update({{…}}) for several keys; '
            "chain.store.clear() before it removes all others"
        )

    def store_change(self) -> StoreChange | None:
        """What the receiver has changed in the store; None if nothing. Raises `GiveUp` if it holds what cannot be stored."""
        if self._store is None or not self._is_used:
            return None
        content = self._store.content()
        if content == self._stored.content:
            return None
        told = changes(self._stored.content, content)
        return StoreChange(chain_id=self.id, before=self._stored.version, content=content, told=told)


def content_of(values: Mapping[str, object]) -> str:
    """What a store with these values holds, as JSON. Raises `GiveUp` if they cannot be stored."""
    store = ChainStore("{}", "the test")
    store.update(values)
    return store.content()


def changes(before: str, now: str) -> str:
    """What differs between two contents, for the delivery's decision."""
    old, new = _decoded(before), _decoded(now)
    told = [
        f"{_key(key)} = {_shown(_json(value))}"
        for key, value in new.items()
        if key not in old or _json(value) != _json(old[key])
    ]
    told += [f"{_key(key)} is gone" for key in old if key not in new]
    more = [f"{len(told) - MOST_SHOWN} more"] if len(told) > MOST_SHOWN else []
    return f"kept in chain.store: {', '.join([*told[:MOST_SHOWN], *more]) or 'another order of its keys'}"


def _decoded(content: str) -> dict[str, Any]:
    return msgspec.json.decode(content, type=dict[str, Any])


def _shown(text: str) -> str:
    """The beginning of a text, as much as a decision shows."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _key(key: str) -> str:
    return key if key.isidentifier() else _shown(repr(key))
