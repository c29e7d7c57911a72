"""Fill a database as after months of use: 100,000 tasks, three quarters of them in our chains, with all their records."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, insert

from benchmarks.payloads import callback
from storage import schema
from storage.engine import write_engine
from storage.meter import MINUTE_MS, SERIES
from storage.migrate import migrate

SPAN_MS = 60 * 24 * 3_600_000
"""Age of the oldest records."""

LIVE_CHAINS = 50
"""The number of newest chains, unless told otherwise, in which all tasks are running, at `STARTED` percent."""

STARTED = 1
_BATCH = 200
"""Chains per batch of inserts."""

_TRACEBACK = "Traceback (most recent call last):\n" + '  File "plugins/mine.py", line 7, in upload\n' * 30
_SUBJECTS = ("a cat", "a dog", "an old man", "two children", "a heron", "a fox")
_WORDS = (
    "on a wall in the rain",
    "under a plum tree",
    "by the harbour",
    "at dawn",
    "behind a window",
    "in tall grass",
    "watercolour",
    "soft light",
    "muted colours",
    "high detail",
    "ink on paper",
    "35mm film",
)

Rows = dict[Table, list[dict[str, Any]]]


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


class _RowMaker:
    """Makes rows with consecutive numbers and random content."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.chance = random.Random(7)
        self.rows: Rows = {}
        self._events = 0
        self._tasks = 0

    def add(self, table: Table, **values: Any) -> None:
        self.rows.setdefault(table, []).append(values)

    def taken(self) -> Rows:
        rows, self.rows = self.rows, {}
        return rows

    def prompt(self) -> str:
        words = self.chance.sample(_WORDS, 6)
        number = self.chance.randrange(10**6)
        return f"{self.chance.choice(_SUBJECTS)} {', '.join(words)}, no. {number} --ar 3:2 --v 7.0 --s 250"

    def task_id(self, at_ms: int) -> str:
        self._tasks += 1
        return f"{at_ms}{self._tasks:06d}"

    def event(self, at_ms: int, **values: Any) -> int:
        self._events += 1
        self.add(
            schema.events,
            id=self._events,
            upstream="main",
            pending=False,
            detail="",
            received_at_ms=at_ms,
            generation=0,
            **values,
        )
        return self._events


def fill(url: str, tasks: int, *, live_chains: int = LIVE_CHAINS) -> FilledDatabase:
    """Create the schema and fill it: 75 % of the tasks are in chains of a grid and four upscales, 25 % are from other clients.

    `live_chains`: how many of the newest chains are running.
    """
    migrate(url)
    now_ms = time.time_ns() // 1_000_000
    maker, chains = _RowMaker(now_ms), tasks * 3 // 20
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
                _loose(maker, at_ms + SPAN_MS // chains // 2)
            if number % _BATCH == 0:
                _write(connection, maker.taken())
        _others(maker)
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
    return FilledDatabase(tasks=maker._tasks, chain=middle[0], task=middle[1], large=large, live=live)


def _clear(connection: Connection) -> None:
    if connection.execute(schema.tasks.select().limit(1)).first() is not None:
        raise RuntimeError("the database to fill is not empty")


def _write(connection: Connection, rows: Rows) -> None:
    for table, some in rows.items():
        connection.execute(insert(table), some)


def _chain(
    maker: _RowMaker, at_ms: int, children: int, *, is_live: bool = False, trouble: int = 1
) -> tuple[str, tuple[str, ...]]:
    """Add a chain that a person started and a rule continued. Returns its id and the ids of its tasks.

    `trouble`: a number that decides whether a task failed, a modal is open or a submission is unfinished.
    """
    chain_id, prompt = _hex(f"chain {at_ms} {trouble}", 16), maker.prompt()
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
    _task(maker, chain_id, root, "", at_ms, prompt, is_live=is_live)
    for number in range(children):
        born_ms = at_ms + 40_000 + number * 900
        ids.append(maker.task_id(born_ms))
        parent = root if children == 4 else ids[number // 3]
        status = "FAILURE" if trouble % 25 == 0 and number == 3 else "SUCCESS"
        status = "MODAL" if trouble % 900 == 0 and number == 2 else status
        _task(
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
        _submission(maker, chain_id, root, "", at_ms, "V1", state=states[trouble // 700 % 3])
    return chain_id, tuple(ids)


def _task(
    maker: _RowMaker,
    chain_id: str,
    task_id: str,
    parent: str,
    at_ms: int,
    prompt: str,
    *,
    is_live: bool,
    status: str = "SUCCESS",
    label: str = "imagine",
) -> None:
    action, end_ms = ("UPSCALE" if parent else "IMAGINE"), at_ms + 38_000
    submission_id = _submission(maker, chain_id, parent, task_id, at_ms, label, prompt=prompt)
    status = "IN_PROGRESS" if is_live else status
    is_over = status in ("SUCCESS", "FAILURE")
    maker.add(
        schema.tasks,
        upstream="main",
        id=task_id,
        status=status,
        progress=100 if is_over else STARTED,
        action=action,
        chain_id=chain_id,
        submission_id=submission_id,
        parent_id=parent,
        depth=1 if parent else 0,
        created_at_ms=at_ms,
        updated_at_ms=end_ms,
        finished_at_ms=end_ms if is_over else None,
        misses=0,
        prompt=prompt,
    )
    steps = [("SUBMITTED", 0, "task.submitted"), ("IN_PROGRESS", STARTED, "task.started")]
    steps += [] if is_live else [(status, 100, {"SUCCESS": "task.succeeded"}.get(status, "task.failed"))]
    for step, (state, percent, signal) in enumerate(steps):
        event_id = maker.event(
            at_ms + step * 19_000,
            task_id=task_id,
            submission_id=submission_id,
            source="callback",
            signal=signal,
            action=action,
            status=state,
            progress=percent,
            advanced=True,
            payload=callback(task_id, state, percent, action=action, prompt=prompt),
        )
        if signal == "task.succeeded":
            for receiver in ("rule:upscale", "plugin:archive"):
                _delivery(maker, event_id, receiver, task_id, end_ms, fired=not parent)


def _submission(
    maker: _RowMaker,
    chain_id: str,
    parent: str,
    task_id: str,
    at_ms: int,
    label: str,
    *,
    state: str = "accepted",
    prompt: str = "",
) -> str:
    submission_id = _hex(f"{chain_id} {parent} {task_id} {label}", 24)
    request: dict[str, Any] = {"kind": "imagine", "prompt": prompt}
    if parent:
        custom_id = f"MJ::JOB::upsample::1::{submission_id}"
        request = {"kind": "action", "task_id": parent, "custom_id": custom_id}
    maker.add(
        schema.submissions,
        id=submission_id,
        idempotency_key=f"main|{submission_id}",
        chain_id=chain_id,
        upstream="main",
        kind=request["kind"],
        label=label,
        request=json.dumps(request).encode(),
        parent_id=parent,
        depth=1 if parent else 0,
        asked_by="rule:upscale" if parent else "person:api",
        lane="",
        priority=0,
        queue_at_ms=at_ms,
        state=state,
        outcome="" if state == "refused" else "accepted" if task_id else "timeout",
        reason="" if task_id else "the upstream did not answer within 30 s",
        task_ids=json.dumps([task_id] if task_id else []),
        attempts=1,
        forgiven=0,
        repeats=0,
        run_at_ms=at_ms,
        started_at_ms=at_ms,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 40,
    )
    answer = b'{"code":1,"description":"Submit success","result":"%s","properties":{}}' % task_id.encode()
    maker.add(
        schema.attempts,
        submission_id=submission_id,
        number=1,
        started_at_ms=at_ms,
        finished_at_ms=at_ms + 40,
        http_status=200 if task_id else None,
        outcome="accepted" if task_id else "timeout",
        reason="",
        answer=answer if task_id else b"",
    )
    if task_id:
        maker.event(
            at_ms + 40,
            task_id=task_id,
            submission_id=submission_id,
            source="answer",
            signal="submission.accepted",
            action="",
            status="",
            progress=None,
            advanced=False,
            payload=answer,
        )
    return submission_id


def _delivery(
    maker: _RowMaker, event_id: int, receiver: str, task_id: str, at_ms: int, *, fired: bool
) -> None:
    chance = maker.chance.random()
    state = "dead" if chance < 0.001 else "waiting" if chance < 0.0011 else "done"
    maker.add(
        schema.deliveries,
        event_id=event_id,
        receiver=receiver,
        lane=f"main|{task_id}",
        state=state,
        attempts=1 if state == "done" else 9,
        excused=0,
        run_at_ms=maker.now_ms + SPAN_MS if state == "waiting" else at_ms,
        fired=fired and state == "done",
        decision="asked for U1, U2, U3, U4" if fired else "did not fire: task.is_grid is false",
        error="" if state == "done" else _TRACEBACK,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 12,
    )


def _loose(maker: _RowMaker, at_ms: int) -> None:
    """Add a task of another client, which belongs to no chain."""
    task_id, prompt = maker.task_id(at_ms), maker.prompt()
    maker.add(
        schema.tasks,
        upstream="main",
        id=task_id,
        status="SUCCESS",
        progress=100,
        action="IMAGINE",
        chain_id=None,
        submission_id=None,
        parent_id="",
        depth=0,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 40_000,
        finished_at_ms=at_ms + 40_000,
        misses=0,
        prompt=prompt,
    )
    for state, percent, signal in (("SUBMITTED", 0, "task.submitted"), ("SUCCESS", 100, "task.succeeded")):
        maker.event(
            at_ms + percent * 400,
            task_id=task_id,
            submission_id="",
            source="callback",
            signal=signal,
            action="IMAGINE",
            status=state,
            progress=percent,
            advanced=True,
            payload=callback(task_id, state, percent, prompt=prompt),
        )


def _others(maker: _RowMaker) -> None:
    """Add quarantined bodies, and eight days of traffic figures."""
    for number in range(200):
        maker.add(
            schema.quarantine,
            upstream="main",
            submission_id="",
            content_type="text/html",
            reason="the body is no JSON object",
            body=b"<html>" + b"x" * 3000,
            received_at_ms=maker.now_ms - number * 60_000,
        )
    first = maker.now_ms // MINUTE_MS
    for minute, series in _minutes():
        maker.add(
            schema.traffic,
            minute_ms=(first - minute) * MINUTE_MS,
            series=series,
            happened=maker.chance.randrange(500),
            total_us=400_000,
            slowest_us=9_000,
        )


def _minutes() -> Iterator[tuple[int, str]]:
    return ((minute, series) for minute in range(8 * 1440) for series in SERIES)


def _hex(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
