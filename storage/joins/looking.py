"""Marks chains that may have come to rest, and gives the signals of those that have.

A chain is marked while an event about one of its submissions is fanned out; and the task that was pressed, too. The marks are looked at
at each turn of the deliveries: a mark whose chain is at rest becomes an event in the same transaction; any other is looked at again, later
each time, and at once when something happens. One process at a time does both, and a mark's number changes for one of them only. So
the signal is given once for each period, at whatever point a process stops.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from sqlalchemy import Connection

from storage.driver import locks
from storage.events import event_log
from storage.joins import rest, sql
from storage.joins.follows import is_after
from storage.joins.rest import MayRequest
from storage.joins.sql import Mark, Part
from storage.records import CHILDREN_DONE, RESTED
from storage.tasks import chains
from storage.upstreams import restores

MARKS_A_LOOK = 100
"""The most marks that are looked at in one transaction."""

FIRST_LOOK_MS = 500
LAST_LOOK_MS = 60_000
"""A look in vain is repeated after half a second, then after twice as long each time, at most a minute. Most of what ends a period wakes
the loop; this finds the rest: an end that a poll confirms, and an order that its client withdraws."""


def mark(connection: Connection, event_ids: Sequence[int], wanted: Collection[str], now_ms: int) -> None:
    """Mark the chains of these events, and the tasks whose children they are about, for the joins that somebody wants."""
    if not event_ids or not wanted:
        return
    marked: set[tuple[str, str]] = set()
    for moved in sql.MOVED.all(connection, ids=event_ids):
        if RESTED in wanted and not is_after(moved.follows, RESTED):
            marked.add((moved.chain_id, ""))
        if CHILDREN_DONE in wanted and moved.parent_id and not is_after(moved.follows, CHILDREN_DONE):
            marked.add((moved.chain_id, moved.parent_id))
    rows = [{"chain_id": chain_id, "task_id": task_id} for chain_id, task_id in sorted(marked)]
    if rows:
        sql.MARK.all_at_once(connection, rows, now_ms=now_ms)


def look(
    connection: Connection,
    wanted: Collection[str],
    may_request: MayRequest,
    now_ms: int,
    *,
    at_once: Collection[str] = (),
) -> int | None:
    """Look at the marks that are due, and at those of the chains `at_once`; returns how many events were appended, None if another
    process has its turn."""
    if not wanted:
        return 0
    # The turn of the fan-out: what it marks and fans out is seen whole or not at all.
    if not locks.turn(connection, "fan_out"):
        return None
    due = sql.DUE.all(
        connection,
        now_ms=now_ms,
        latest_ms=now_ms + 2 * LAST_LOOK_MS,
        chain_ids=list(at_once),
        wanted=list(wanted),
        most=MARKS_A_LOOK,
    )
    given = 0
    for chain_id, marks in groupby(sorted(due), key=lambda one: one.chain_id):
        given += _look_at(connection, chain_id, list(marks), may_request, now_ms)
    return given


def _look_at(
    connection: Connection, chain_id: str, marks: Sequence[Mark], may_request: MayRequest, now_ms: int
) -> int:
    """Look at the marks of one chain: the tasks first, because the chain is not at rest while somebody hears of those."""
    if all(one.task_id == "" for one in marks) and sql.BUSY.first(connection, chain_id=chain_id) is not None:
        for one in marks:
            _put_off(connection, one, now_ms)
        return 0
    parts = sql.PARTS.all(connection, chain_id=chain_id)
    given = 0
    for one in sorted(marks, key=lambda one: one.task_id == ""):
        if one.task_id:
            children = rest.children_of(parts, one.task_id)
            is_due = rest.are_done(parts, children, one.task_id, may_request)
            digest = rest.digest_of_children(parts, children, one.task_id)
        else:
            is_due = not given and rest.is_at_rest(parts, may_request)
            digest = rest.digest_of(parts, RESTED)
        if is_due:
            given += _give(connection, one, parts, digest, now_ms)
        else:
            _put_off(connection, one, now_ms)
    return given


def _give(connection: Connection, mark: Mark, parts: Sequence[Part], digest: str, now_ms: int) -> int:
    """Give the signal of a mark, unless it was given for the same ends; returns the number of events."""
    of_mark = {"chain_id": mark.chain_id, "task_id": mark.task_id, "given": mark.given}
    about = _subject(connection, mark, parts)
    if about is None or digest in ("", mark.shown):
        sql.CLEAR(connection, **of_mark)
        return 0
    if restores.find(connection, about.upstream) is not None:  # a restored copy may lack what still runs
        _put_off(connection, mark, now_ms)
        return 0
    if not sql.GIVE(connection, shown=digest, **of_mark):
        return 0
    ended = sum(one.what == "task" for one in parts)
    event_log.append(
        connection,
        event_log.fact(
            upstream=about.upstream,
            task_id=about.id if about.what == "task" else "",
            submission_id=about.id if about.what == "submission" else "",
            signal=rest.signal_of(mark.task_id),
            source="internal",
            action=about.name if about.what == "task" else "",
            status=about.state if about.what == "task" else "",
            detail=f"time {mark.given + 1}: the chain has {ended} task{'' if ended == 1 else 's'}",
            now_ms=now_ms,
        ),
    )
    return 1


def _subject(connection: Connection, mark: Mark, parts: Sequence[Part]) -> Part | None:
    """What the event is about: the marked task; of a chain its root, or the submission that should have made one. None if it is gone."""
    tasks = {one.id: one for one in parts if one.what == "task"}
    if mark.task_id:
        return tasks.get(mark.task_id)
    root = tasks.get(chains.root_of(connection, mark.chain_id).task_id)
    return root or next((one for one in parts if one.what == "submission" and not one.parent_id), None)


def _put_off(connection: Connection, mark: Mark, now_ms: int) -> None:
    wait_ms = min(LAST_LOOK_MS, FIRST_LOOK_MS * 2 ** min(mark.looks, 16))
    sql.PUT_OFF(
        connection,
        chain_id=mark.chain_id,
        task_id=mark.task_id,
        given=mark.given,
        look_at_ms=now_ms + wait_ms,
    )
