"""What all processes must agree on about an upstream: whether it is paused, and how its limits stand.

Only one transaction at a time claims requests for an upstream: it holds this row. How the limits are counted is
`dispatcher/limits.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import schema
from storage.prepared import Prepared

upstreams, tasks, submissions = schema.upstreams, schema.tasks, schema.submissions


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the limits of one upstream stand.

    `rate_paid_until_us`: the time, in epoch microseconds, up to which its rate is used up. `held_until_ms`: nothing is
    sent until then, since its queue is full or it said so. `failures`: requests in a row without a usable answer.
    `open_until_ms`, `open_ms`: until when the breaker is open, and for how long it was opened; 0 while it is closed.
    """

    name: str
    paused: bool = False
    rate_paid_until_us: int = 0
    held_until_ms: int = 0
    failures: int = 0
    open_until_ms: int = 0
    open_ms: int = 0


class Load(msgspec.Struct, frozen=True):
    """What is under way at an upstream: `requests` of ours being sent, and `jobs` of ours (tasks that have not ended).

    Midjourney's plans allow 3 or 12 jobs at once; submissions that may be about to make one count.
    """

    requests: int = 0
    jobs: int = 0


_columns = [upstreams.c[name] for name in Standing.__struct_fields__]
_add = Prepared(upsert(upstreams).on_conflict_do_nothing(index_elements=["name"]))
_all = Prepared(select(*_columns))
_for_claim = Prepared(
    select(*_columns)
    .where(upstreams.c.name.in_(bindparam("names", expanding=True)))
    .order_by(upstreams.c.name)
    .with_for_update(skip_locked=True)
)
_one = Prepared(select(*_columns).where(upstreams.c.name == bindparam("of_name")).with_for_update())
_save = Prepared(
    update(upstreams)
    .where(upstreams.c.name == bindparam("of_name"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in Standing.__struct_fields__
            if name not in ("name", "paused")
        }
    )
)
_answered = Prepared(
    update(upstreams)
    .where(upstreams.c.name == bindparam("of_name"), or_(upstreams.c.failures != 0, upstreams.c.open_ms != 0))
    .values(failures=0, open_until_ms=0, open_ms=0)
)
_here = (
    submissions.c.upstream + "" == upstreams.c.name
)  # not by its index: few are on their way, many were here
_sending = select(func.count()).where(submissions.c.state == "sending", _here).scalar_subquery()
_coming = (
    select(func.count())
    .where(
        submissions.c.state.in_(bindparam("coming", expanding=True)),
        _here,
        submissions.c.kind != "cancel",
    )
    .scalar_subquery()
)
_running = (
    select(func.count())
    .where(
        tasks.c.upstream == upstreams.c.name,
        text("tasks.finished_at_ms IS NULL"),
        and_(
            tasks.c.submission_id.is_not(None),
            tasks.c.status != "MODAL",  # a window that waits takes no place
        ),
    )
    .scalar_subquery()
)
_names = upstreams.c.name.in_(bindparam("names", expanding=True))
_requests = Prepared(select(upstreams.c.name, _sending.label("requests")).where(_names))
# In one statement: in two, a submission that is accepted between them would count in neither.
_jobs = Prepared(
    select(upstreams.c.name, _sending.label("requests"), (_running + _coming).label("jobs")).where(_names)
)


def add(connection: Connection, names: Iterable[str]) -> None:
    """Make the rows of these upstreams, where there are none."""
    for name in names:
        _add(connection, **msgspec.structs.asdict(Standing(name=name)))


def every(connection: Connection) -> dict[str, Standing]:
    """All that are known, by name."""
    return {row.name: _standing(row._mapping) for row in _all(connection)}


def paused(connection: Connection) -> frozenset[str]:
    """Names of the upstreams that are paused."""
    return frozenset(name for name, standing in every(connection).items() if standing.paused)


def held_for_claim(connection: Connection, names: Iterable[str]) -> dict[str, Standing]:
    """Have these upstreams to ourselves until the transaction ends; without those that another process has just now."""
    return {row.name: _standing(row._mapping) for row in _for_claim(connection, names=list(names))}


def held(connection: Connection, name: str) -> Standing:
    """Have one upstream to ourselves until the transaction ends, as soon as nobody else has it."""
    row = _one(connection, of_name=name).first()
    if row is None:
        add(connection, [name])
        return held(connection, name)
    return _standing(row._mapping)


def _standing(values: object) -> Standing:
    found = dict(values)  # type: ignore[call-overload]  # a RowMapping
    return Standing(**found | {"paused": bool(found["paused"])})


def loads(connection: Connection, names: Iterable[str], *, with_jobs: bool) -> dict[str, Load]:
    """What is under way at these upstreams; jobs only where they are asked for, which takes longer."""
    if not with_jobs:
        return {row.name: Load(row.requests) for row in _requests(connection, names=list(names))}
    rows = _jobs(connection, names=list(names), coming=["sending", "uncertain"])
    return {row.name: Load(row.requests, row.jobs) for row in rows}


def save(connection: Connection, standing: Standing) -> None:
    """Write how its limits stand; whether it is paused is left alone."""
    values = msgspec.structs.asdict(standing)
    new = {f"new_{key}": value for key, value in values.items() if key not in ("name", "paused")}
    _save(connection, of_name=standing.name, **new)


def answered(connection: Connection, name: str) -> bool:
    """It gave a usable answer: the breaker closes. Tells whether there was anything to close or to forget."""
    return _answered(connection, of_name=name).rowcount > 0


_pause = update(upstreams).where(upstreams.c.name == bindparam("of_name")).values(paused=bindparam("stop"))


def pause(connection: Connection, upstream: str) -> None:
    """Submit nothing at this upstream, whatever process works on this database."""
    add(connection, [upstream])
    connection.execute(_pause, {"of_name": upstream, "stop": True})


def resume(connection: Connection, upstream: str) -> None:
    """Go on."""
    connection.execute(_pause, {"of_name": upstream, "stop": False})
