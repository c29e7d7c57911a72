"""Upstreams that a person has paused: nothing is submitted there until it is resumed; what waits is kept."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from storage import schema
from storage.prepared import Prepared

_PREFIX = "paused:"
meta = schema.meta

_all = Prepared(select(meta.c.key).where(meta.c.key >= _PREFIX, meta.c.key < "paused;"))
_set = upsert(meta).on_conflict_do_nothing(index_elements=["key"])
_unset = delete(meta).where(meta.c.key == bindparam("wanted"))


def paused(connection: Connection) -> frozenset[str]:
    """Names of the upstreams that are paused."""
    return frozenset(key.removeprefix(_PREFIX) for (key,) in _all(connection))


def pause(connection: Connection, upstream: str) -> None:
    """Submit nothing at this upstream, whatever process works on this database."""
    connection.execute(_set, {"key": _PREFIX + upstream, "value": ""})


def resume(connection: Connection, upstream: str) -> None:
    """Go on."""
    connection.execute(_unset, {"wanted": _PREFIX + upstream})
