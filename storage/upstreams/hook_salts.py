"""The salts of the registered hooks of an upstream: rotating adds a hook, retiring leaves only the newest one valid.

A hook's token is derived from the secret, the upstream and a salt. The salts are stored here, so that all processes on one database
agree. A salt is random and not a counter: a database that was lost and created anew would count from the beginning, and issue a
hook again that was retired because it had leaked.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.errors import TooManyHooks
from storage.upstreams import sql

MOST_VALID = 8
"""Most hooks of one upstream that are valid at the same time: each is compared with the token of every callback."""

MOST_RETIRED = 8
"""Most retired hooks that are remembered, to distinguish callbacks that still use one from unknown tokens."""


class HookSalts(msgspec.Struct, frozen=True, kw_only=True):
    """The salts of an upstream's hooks, oldest first. "" is the salt of the first hook of a database, and of 0.1.0's hook."""

    valid: tuple[str, ...] = ("",)
    retired: tuple[str, ...] = ()

    @property
    def present(self) -> str:
        """The salt of the hook to register."""
        return self.valid[-1]


_decoder = msgspec.json.Decoder(HookSalts)


def find(connection: Connection, upstreams: Iterable[str]) -> dict[str, HookSalts]:
    """The salts of each of these upstreams, by its name."""
    names = {_key(name): name for name in upstreams}
    rows = sql.SALTS.all(connection, keys=list(names))
    return dict.fromkeys(names.values(), HookSalts()) | {
        names[row.key]: _decoder.decode(row.salts) for row in rows
    }


def rotate(connection: Connection, upstream: str) -> HookSalts:
    """Add a hook, which is the one to register from now on; earlier hooks stay valid. Raises `TooManyHooks`."""
    salts = _hold(connection, upstream)
    if len(salts.valid) >= MOST_VALID:
        raise TooManyHooks(
            f"{upstream} has {len(salts.valid)} valid hooks, which is the maximum: "
            "end the old ones first with `hookchain url --retire`"
        )
    valid = (*salts.valid, secrets.token_hex(8))
    return _put(connection, upstream, msgspec.structs.replace(salts, valid=valid))


def retire(connection: Connection, upstream: str) -> HookSalts:
    """End all hooks except the one to register."""
    salts = _hold(connection, upstream)
    retired = (*salts.retired, *salts.valid[:-1])[-MOST_RETIRED:]
    return _put(connection, upstream, HookSalts(valid=salts.valid[-1:], retired=retired))


def _hold(connection: Connection, upstream: str) -> HookSalts:
    """The salts of an upstream, locked until the transaction ends."""
    key = _key(upstream)
    sql.MAKE_SALTS(connection, key=key, salts=_encoded(HookSalts()))
    return _decoder.decode(sql.HOLD_SALTS.one(connection, key=key))


def _put(connection: Connection, upstream: str, salts: HookSalts) -> HookSalts:
    sql.SAVE_SALTS(connection, key=_key(upstream), salts=_encoded(salts))
    return salts


def _key(upstream: str) -> str:
    return f"hook:{upstream}"


def _encoded(salts: HookSalts) -> str:
    return msgspec.json.encode(salts).decode()
