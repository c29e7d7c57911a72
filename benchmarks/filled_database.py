"""Fill a database as after months of use: 100,000 tasks, three quarters of them in our chains, with all their records."""

from __future__ import annotations

import time

import msgspec
from sqlalchemy import Connection, insert

from benchmarks.made_up_records import (
    SPAN_MS,
    RowMaker,
    Rows,
    add_loose,
    add_others,
    add_submission,
    add_task,
    hex_id,
)
from storage import schema
from storage.engine import write_engine
from storage.migrate import migrate

LIVE_CHAINS = 50
"""The number of newest chains, unless told otherwise, in which all tasks are running, at `STARTED` percent."""

_BATCH = 200
"""Chains per batch of inserts."""


class FilledDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """What the database contains.

    `chain` and `task`: ids from the middle. `large`: a chain of 200 tasks. `live`: the ids of the running tasks of each of the
    newest `LIVE_CHAINS` chains.
    """

    tasks: int
    chain: str
    task: str
    large: str
    live: dict[str, tuple[str, ...]]


def fill(url: str, tasks: int, *, live_chains: int = LIVE_CHAINS) -> FilledDatabase:
    """Create the schema and fill it: 75 % of the tasks are in chains of a grid and four upscales, 25 % are from other clients.

    `live_chains`: how many of the newest chains are running.
    """
    migrate(url)
    now_ms = time.time_ns() // 1_000_000
    maker, chains = RowMaker(now_ms), tasks * 3 // 20
    engine = write_engine(url)
    live: dict[str, tuple[str, ...]] = {}
    middle = ("", "")
    with engine.begin() as connection:
        _clear(connection)
        large = _chain(maker, now_ms - 600_000, 199)[0]
        for number in range(chains):
            at_ms = now_ms - (chains - number) * SPAN_MS // chains
            is_live = number >= chains - live_chains
            chain_id, ids = _chain(maker, at_ms, 4, is_live=is_live, trouble=number)
            if is_live:
                live[chain_id] = ids
            if number == chains // 2:
                middle = (chain_id, ids[0])
            for _ in range(2 if number % 3 else 1):
                add_loose(maker, at_ms + SPAN_MS // chains // 2)
            if number % _BATCH == 0:
                _write(connection, maker.taken())
        add_others(maker)
        _write(connection, maker.taken())
        # PostgreSQL does not advance the sequence for explicit ids.
        if connection.dialect.name == "postgresql":
            events = f"{schema.SCHEMA}.events"
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{events}', 'id'), max(id)) FROM {events}"
            )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return FilledDatabase(tasks=maker.tasks, chain=middle[0], task=middle[1], large=large, live=live)


def _clear(connection: Connection) -> None:
    if connection.execute(schema.tasks.select().limit(1)).first() is not None:
        raise RuntimeError("the database to fill is not empty")


def _write(connection: Connection, rows: Rows) -> None:
    for table, some in rows.items():
        connection.execute(insert(table), some)


def _chain(
    maker: RowMaker, at_ms: int, children: int, *, is_live: bool = False, trouble: int = 1
) -> tuple[str, tuple[str, ...]]:
    """Add a chain that a person started and a rule continued. Returns its id and the ids of its tasks.

    `trouble`: a number that decides whether a task failed, a modal is open or a submission is unfinished.
    """
    chain_id, prompt = hex_id(f"chain {at_ms} {trouble}", 16), maker.prompt()
    root = maker.task_id(at_ms)
    maker.add(
        schema.chains,
        id=chain_id,
        upstream="main",
        root_task_id=root,
        submissions=children + 1,
        created_at_ms=at_ms,
        prompt=prompt,
    )
    ids = [root]
    add_task(maker, chain_id, root, "", at_ms, prompt, is_live=is_live)
    for number in range(children):
        born_ms = at_ms + 40_000 + number * 900
        ids.append(maker.task_id(born_ms))
        parent = root if children == 4 else ids[number // 3]
        status = "FAILURE" if trouble % 25 == 0 and number == 3 else "SUCCESS"
        status = "MODAL" if trouble % 900 == 0 and number == 2 else status
        add_task(
            maker,
            chain_id,
            ids[-1],
            parent,
            born_ms,
            prompt,
            is_live=is_live,
            status=status,
            label=f"U{number % 4 + 1}",
        )
    if trouble % 700 == 0:
        states = ("dead", "uncertain", "refused")
        add_submission(maker, chain_id, root, "", at_ms, "V1", state=states[trouble // 700 % 3])
    return chain_id, tuple(ids)
