"""Row locks, where there are many writers. SQLite has one at a time: there they are neither needed nor known.

The rule on PostgreSQL: lock, then look, in two statements. One that waits for a lock goes on with what it saw before it
waited. And in one order, so that nobody waits in a circle: chain, submission, task, upstream.
"""

from __future__ import annotations

from sqlalchemy import Connection, Select, bindparam, select

from storage import schema
from storage.prepared import Prepared


def many_writers(connection: Connection) -> bool:
    """Whether other processes may be writing while this transaction runs."""
    return connection.dialect.name != "sqlite"


def _locking(query: Select[tuple[str]]) -> Prepared:
    return Prepared(query.with_for_update())


_chain = _locking(select(schema.chains.c.id).where(schema.chains.c.id == bindparam("id")))
_submissions = _locking(
    select(schema.submissions.c.id)
    .where(schema.submissions.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(schema.submissions.c.id)
)
_turn = Prepared(
    select(schema.leases.c.name)
    .where(schema.leases.c.name == bindparam("of_name"))
    .with_for_update(skip_locked=True)
)


def chain(connection: Connection, chain_id: str) -> None:
    """Have the chain to ourselves until the transaction ends."""
    if many_writers(connection):
        _chain(connection, id=chain_id)


def submissions(connection: Connection, ids: list[str]) -> None:
    """Have submissions to ourselves until the transaction ends."""
    if ids and many_writers(connection):
        _submissions(connection, ids=sorted(ids))


def turn(connection: Connection, name: str) -> bool:
    """Whether it is our turn at something that one transaction does at a time; False while another does it."""
    return not many_writers(connection) or _turn(connection, of_name=name).first() is not None
