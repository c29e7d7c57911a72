"""What each client of the gateway uses now: its tickets, keys and hooks. Its budgets are in storage/budgets/counters.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from storage.clients import keys
from storage.reading import sql_tickets
from storage.records.clients import StoredKey
from storage.tickets import tickets
from storage.tickets.audience import HOOK, host_of

HOOKS_OF = 200
"""How many of its newest tickets are examined for the hosts of a client's hooks."""


class HookUse(msgspec.Struct, frozen=True, kw_only=True):
    """The messages to one host: those that wait, those of them that failed before, and dead letters. Clients may share a host."""

    host: str
    waiting: int = 0
    failing: int = 0
    dead: int = 0


class ClientUse(msgspec.Struct, frozen=True, kw_only=True):
    """One client. `tickets_today` counts from the beginning of the day; `not_ended` are its tickets that have not ended, `windows` those
    of them that wait for the client's answer. `keys`: its stored keys that are valid. `seen_at_ms`: its last order, or the last use
    of a stored key."""

    name: str
    tickets_today: int
    not_ended: int
    windows: int
    ordered_at_ms: int | None
    seen_at_ms: int | None
    keys: tuple[StoredKey, ...]
    hooks: tuple[HookUse, ...]


def names(connection: Connection, now_ms: int) -> list[str]:
    """The clients that have tickets, or a valid stored key."""
    ordered = sql_tickets.CLIENTS.all(connection)
    return sorted({*ordered, *(stored.client for stored in keys.valid(connection, now_ms))})


def uses(connection: Connection, wanted: Iterable[str], since_ms: int, now_ms: int) -> list[ClientUse]:
    """What these clients use; the day began at `since_ms`."""
    stored: defaultdict[str, list[StoredKey]] = defaultdict(list)
    for key in keys.valid(connection, now_ms):
        stored[key.client].append(key)
    counts = {row.client: row for row in sql_tickets.OPEN_BY_CLIENT.all(connection)}
    untold = _untold(connection)
    return [
        _use(connection, name, since_ms, stored.get(name, []), counts.get(name), untold) for name in wanted
    ]


def _use(
    connection: Connection,
    name: str,
    since_ms: int,
    stored: list[StoredKey],
    count: sql_tickets.OpenCount | None,
    untold: dict[str, HookUse],
) -> ClientUse:
    ordered_at_ms = sql_tickets.NEWEST_OF_CLIENT.first(connection, client=name)
    hooks = sql_tickets.HOOKS_OF_CLIENT.all(connection, client=name, looked_at=HOOKS_OF)
    seen = [at_ms for at_ms in (ordered_at_ms, *(key.last_used_at_ms for key in stored)) if at_ms is not None]
    return ClientUse(
        name=name,
        tickets_today=tickets.count_since(connection, name, since_ms - 1),
        not_ended=count.not_ended if count is not None else 0,
        windows=count.windows if count is not None else 0,
        ordered_at_ms=ordered_at_ms,
        seen_at_ms=max(seen, default=None),
        keys=tuple(sorted(stored, key=lambda key: key.created_at_ms)),
        hooks=tuple(untold.get(host, HookUse(host=host)) for host in sorted(set(map(host_of, hooks)) - {""})),
    )


def _untold(connection: Connection) -> dict[str, HookUse]:
    """The messages that wait or were given up, by host."""
    found: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"waiting": 0, "failing": 0, "dead": 0})
    for row in sql_tickets.UNTOLD.all(connection):
        counts = found[row.receiver.removeprefix(HOOK)]
        if row.state == "dead":
            counts["dead"] += row.how_many
        else:
            counts["waiting"] += row.how_many
            counts["failing"] += row.failed
    return {host: HookUse(host=host, **counts) for host, counts in found.items()}
