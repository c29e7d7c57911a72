"""Who works: each worker says so every few seconds, and one of them leads.

A row instead of a lock of the database's: it works through connection poolers and on databases that have no advisory
locks, and one that vanished without a word is noticed after `TTL_MS`, by the database's clock. What a worker that is
gone was running is given back; what it was sending is uncertain, for evidence to settle.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from storage import schema
from storage.prepared import Prepared

leases = schema.leases

TTL_MS = 10_000
"""How long a worker is believed to be alive without a word from it."""

LEADER = "leader"
_WORKER = "worker:"
_FORGOTTEN_MS = 3_600_000


class _now_ms(FunctionElement[int]):
    """The database's clock, epoch milliseconds: those of several machines differ."""

    type = BigInteger()
    inherit_cache = True


@compiles(_now_ms, "sqlite")
def _sqlite_now(_element: object, _compiler: object, **_: object) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(_now_ms)
def _postgres_now(_element: object, _compiler: object, **_: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


_clock = Prepared(select(_now_ms().label("now")))
_until = Prepared(select(leases.c.since_ms, leases.c.until_ms).where(leases.c.name == bindparam("of_name")))
_insert = upsert(leases)
_renew = Prepared(
    _insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"since_ms": _insert.excluded.since_ms, "until_ms": _insert.excluded.until_ms},
    )
)
_lead = Prepared(
    _insert.on_conflict_do_update(
        index_elements=["name"],
        set_={name: _insert.excluded[name] for name in ("holder", "since_ms", "until_ms")},
        where=or_(leases.c.holder == _insert.excluded.holder, leases.c.until_ms < _insert.excluded.since_ms),
    )
)
_holder = Prepared(select(leases.c.holder).where(leases.c.name == LEADER))
_workers = Prepared(
    select(func.count()).where(
        leases.c.name.like(_WORKER + "%"),
        leases.c.until_ms >= bindparam("now"),
        leases.c.holder != bindparam("me"),
    )
)
_forget = Prepared(delete(leases).where(leases.c.until_ms < bindparam("before"), leases.c.name != "fan_out"))
_end = Prepared(delete(leases).where(leases.c.holder == bindparam("me")))
_end_all = Prepared(delete(leases).where(leases.c.name != "fan_out"))


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is among the others.

    `may_sweep`: it has been here without a gap for long enough to say that one that is silent is gone. After an outage
    of the database all of them have been silent.
    """

    leads: bool
    others: int
    may_sweep: bool


def beat(connection: Connection, me: str, *, ttl_ms: int) -> Role:
    """Say that this worker lives; take the lead if nobody has it."""
    now_ms = _clock(connection).scalar_one()
    row = _until(connection, of_name=_WORKER + me).first()
    lapsed = row is None or row.until_ms < now_ms
    since_ms = now_ms if row is None or lapsed else row.since_ms
    _renew(connection, name=_WORKER + me, holder=me, since_ms=since_ms, until_ms=now_ms + ttl_ms)
    _lead(connection, name=LEADER, holder=me, since_ms=now_ms, until_ms=now_ms + ttl_ms)
    _forget(connection, before=now_ms - _FORGOTTEN_MS)
    return Role(
        leads=_holder(connection).scalar() == me,
        others=_workers(connection, now=now_ms, me=me).scalar_one(),
        may_sweep=now_ms - since_ms > ttl_ms,
    )


def alive(connection: Connection) -> int:
    """How many workers there are."""
    return int(_workers(connection, now=_clock(connection).scalar_one(), me="").scalar_one())


def is_alive(connection: Connection, me: str) -> bool:
    """Whether the lease of this worker has not run out."""
    row = _until(connection, of_name=_WORKER + me).first()
    return row is not None and row.until_ms >= _clock(connection).scalar_one()


def resign(connection: Connection, me: str) -> None:
    """This worker ends: nobody need wait until its silence is noticed."""
    _end(connection, me=me)


def resign_all(connection: Connection) -> None:
    """Only one worker can be here, and it is the one that asks: whatever others there were have ended."""
    _end_all(connection)


_deliveries, _submissions = schema.deliveries, schema.submissions


_lives = exists().where(
    leases.c.name == _WORKER + _deliveries.c.worker, leases.c.until_ms >= bindparam("now")
)
_give_back = Prepared(
    update(_deliveries).where(_deliveries.c.state == "running", ~_lives).values(state="waiting")
)
_sent_by_gone = Prepared(
    select(_submissions.c.id)
    .where(
        _submissions.c.state == "sending",
        ~exists().where(
            leases.c.name == _WORKER + _submissions.c.worker, leases.c.until_ms >= bindparam("now")
        ),
    )
    .limit(1000)
    .with_for_update(skip_locked=True)
)


def give_back(connection: Connection) -> int:
    """Deliveries that a worker that is gone was running wait again; how many they were."""
    return _give_back(connection, now=_clock(connection).scalar_one()).rowcount


def left_sending(connection: Connection) -> list[str]:
    """Submissions that a worker that is gone was sending, ours until the transaction ends."""
    return list(_sent_by_gone(connection, now=_clock(connection).scalar_one()).scalars())


_running = Prepared(
    select(_deliveries.c.id).where(
        _deliveries.c.state == "running",
        _deliveries.c.worker == bindparam("me"),
        _deliveries.c.updated_at_ms < bindparam("before_ms"),
    )
)
_give_back_these = Prepared(
    update(_deliveries)
    .where(_deliveries.c.id.in_(bindparam("ids", expanding=True)), _deliveries.c.state == "running")
    .values(state="waiting")
)
_sending = Prepared(
    select(_submissions.c.id).where(
        _submissions.c.state == "sending",
        _submissions.c.worker == bindparam("me"),
        _submissions.c.updated_at_ms < bindparam("before_ms"),
    )
)


def running(connection: Connection, me: str, before_ms: int) -> list[int]:
    """Deliveries that are marked as ours, unchanged since then."""
    return list(_running(connection, me=me, before_ms=before_ms).scalars())


def give_back_these(connection: Connection, delivery_ids: list[int]) -> int:
    """Deliveries that nobody has in hand wait again."""
    return _give_back_these(connection, ids=delivery_ids).rowcount if delivery_ids else 0


def sending(connection: Connection, me: str, before_ms: int) -> list[str]:
    """Submissions that are marked as being sent by us, unchanged since then."""
    return list(_sending(connection, me=me, before_ms=before_ms).scalars())
