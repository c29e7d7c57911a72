"""Chains: the tree of tasks that grew from one root, and the counters for its budget."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from midjourney.decode import kept_task
from storage.events import event_log
from storage.records import ChainRow, TaskRow, beginning
from storage.tasks import aliases, marks, sql
from storage.tasks import rows as tasks


def find(connection: Connection, chain_id: str) -> ChainRow | None:
    """One chain, or None."""
    return sql.CHAIN.first(connection, id=chain_id)


def create(
    connection: Connection,
    upstream: str,
    root_task_id: str,
    now_ms: int,
    *,
    prompt: str = "",
    state: str | None = None,
    client: str = "",
) -> ChainRow:
    """Create a chain without submissions."""
    chain = _new(upstream, root_task_id, now_ms, prompt=prompt, state=state, client=client)
    sql.CREATE_CHAIN(connection, **msgspec.structs.asdict(chain))
    return chain


def _new(
    upstream: str, root_task_id: str, now_ms: int, *, prompt: str, state: str | None = None, client: str = ""
) -> ChainRow:
    return ChainRow(
        # The time comes first, so that new chains are neighbours in each index: a commit writes a page for many of them.
        id=f"{now_ms:011x}{secrets.token_hex(5)}",
        upstream=upstream,
        root_task_id=root_task_id,
        submissions=0,
        created_at_ms=now_ms,
        prompt=beginning(prompt),
        state=state,
        client=client,
    )


class Root(msgspec.Struct, frozen=True):
    """The root of a chain, and who submitted it. `state` is None until it is first looked up."""

    chain_id: str
    upstream: str
    task_id: str
    state: str | None
    client: str


NOBODY = Root("", "", "", "", "")


def root_of(connection: Connection, chain_id: str) -> Root:
    """The root of a chain; `NOBODY` if there is no such chain."""
    row = sql.CHAIN.first(connection, id=chain_id)
    return NOBODY if row is None else Root(row.id, row.upstream, row.root_task_id, row.state, row.client)


def state_of(connection: Connection, root: Root) -> str:
    """The `state` that the submitter gave to the root of a chain; looked up once in its task's payload, then stored."""
    if root.state is not None:
        return root.state
    shown = kept_task(event_log.latest(connection, root.upstream, root.task_id)[0])
    state = beginning(marks.without_mark(shown.state)) if shown is not None else ""
    sql.SET_STATE(connection, id=root.chain_id, state=state)
    return state


def count_submission(connection: Connection, chain_id: str, *, by_hand: bool) -> None:
    """Count one more submission in the chain, staged by a person or by a rule."""
    count_submissions(connection, [(chain_id, by_hand)])


def count_submissions(connection: Connection, staged: Sequence[tuple[str, bool]]) -> None:
    """Count one more submission for each chain, and True if a person staged it."""
    more = Counter(chain_id for chain_id, _ in staged)
    by_rules = Counter(chain_id for chain_id, by_hand in staged if not by_hand)
    rows = [{"chain_id": name, "more": more[name], "by_rules": by_rules[name]} for name in sorted(more)]
    if rows:
        sql.COUNT_SUBMISSIONS.all_at_once(connection, rows)


def set_root(connection: Connection, chain_id: str, task_id: str) -> None:
    """Set the chain's first task, unless it is set."""
    set_roots(connection, [(chain_id, task_id)])


def set_roots(connection: Connection, roots: Sequence[tuple[str, str]]) -> None:
    """Set the first tasks of chains, unless they are set. Of several for one chain, the first counts."""
    first = dict(reversed(roots))
    if rows := [{"chain_id": chain_id, "task_id": first[chain_id]} for chain_id in sorted(first)]:
        sql.SET_ROOTS.all_at_once(connection, rows)


def set_prompt(connection: Connection, chain_id: str, prompt: str) -> None:
    """Change the chain's prompt because its first request was edited; does nothing once its first task is known."""
    sql.SET_PROMPT(connection, id=chain_id, prompt=beginning(prompt))


class Orphan(NamedTuple):
    """A task that needs a chain, and the task that it was pressed on, or ""."""

    upstream: str
    task_id: str
    parent_id: str


def adopt(
    connection: Connection, upstream: str, task_id: str, parent_id: str, now_ms: int
) -> tuple[str, int]:
    """Give one task a place in a chain: see `adopt_all`."""
    orphan = Orphan(upstream, task_id, parent_id)
    return adopt_all(connection, [orphan], now_ms)[orphan]


def adopt_all(
    connection: Connection, orphans: Sequence[Orphan], now_ms: int
) -> dict[Orphan, tuple[str, int]]:
    """Give tasks that none of our submissions made a place in a chain; returns for each the chain's id and the depth.

    A task joins the chain of the task it was pressed on, if its payload named a known one ("/up <id> …" in novicezk and Plus,
    `parentId` in trueai); otherwise it becomes the root of a new chain.
    """
    family = _Family(connection, orphans, now_ms)
    places = {orphan: family.place_of(orphan) for orphan in orphans}
    family.store()
    return places


class _Family:
    """Tasks that need a chain, and their parents: read and locked at first, written at last."""

    def __init__(self, connection: Connection, orphans: Sequence[Orphan], now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._rows: dict[tuple[str, str], TaskRow] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._new: list[ChainRow] = []
        self._placed: dict[tuple[str, str], TaskRow] = {}
        wanted: dict[str, set[str]] = {}
        for orphan in orphans:
            wanted.setdefault(orphan.upstream, set()).update({orphan.task_id, orphan.parent_id} - {""})
        for upstream in sorted(wanted):
            self._read(upstream, wanted[upstream])

    def _read(self, upstream: str, task_ids: set[str]) -> None:
        rows = tasks.held_all(self._connection, upstream, task_ids)
        names = aliases.names(self._connection, upstream, task_ids - rows.keys())
        if names:
            rows |= tasks.held_all(self._connection, upstream, set(names.values()) - rows.keys())
        self._rows |= {(upstream, task_id): row for task_id, row in rows.items()}
        self._names |= {(upstream, name): task_id for name, task_id in names.items()}

    def place_of(self, orphan: Orphan) -> tuple[str, int]:
        """The chain of a task, and its depth in it; a new chain if it needs one."""
        row = self._rows.get((orphan.upstream, orphan.task_id))
        if row is not None and row.chain_id is not None:
            return row.chain_id, row.depth  # placed already, by this transaction or by another process
        row = row or tasks.blank(orphan.upstream, orphan.task_id, self._now_ms)
        parent = self._parent_of(orphan)
        if parent is None:
            return self._place(row, self._begin(row), 0, "")
        if parent.chain_id is None:  # the parent becomes a root, whatever it was pressed on itself
            chain_id, depth = self._place(parent, self._begin(parent), 0, "")
        else:
            chain_id, depth = parent.chain_id, parent.depth
        return self._place(row, chain_id, depth + 1, orphan.parent_id)

    def _parent_of(self, orphan: Orphan) -> TaskRow | None:
        if orphan.parent_id in ("", orphan.task_id):
            return None
        key = orphan.upstream, orphan.parent_id
        return self._rows.get(key) or self._rows.get((orphan.upstream, self._names.get(key, "")))

    def _begin(self, root: TaskRow) -> str:
        chain = _new(root.upstream, root.id, self._now_ms, prompt=root.prompt)
        self._new.append(chain)
        return chain.id

    def _place(self, row: TaskRow, chain_id: str, depth: int, parent_id: str) -> tuple[str, int]:
        key = row.upstream, row.id
        self._rows[key] = self._placed[key] = msgspec.structs.replace(
            row, chain_id=chain_id, depth=depth, parent_id=parent_id
        )
        return chain_id, depth

    def store(self) -> None:
        """Write the new chains, and the places of the tasks."""
        if self._new:
            sql.CREATE_CHAIN.all_at_once(self._connection, [msgspec.structs.asdict(one) for one in self._new])
        if self._placed:
            rows = [msgspec.structs.asdict(row) for row in self._placed.values()]
            sql.PLACE_IN_CHAINS.all_at_once(self._connection, rows)


def count_undelivered(connection: Connection, chain_id: str, now_ms: int) -> int:
    """The number of events and deliveries of a chain that are due or running: rules and plugins may still request more because
    of them. A failed delivery counts again once its retry is due."""
    pending = sql.COUNT_PENDING.one(connection, chain_id=chain_id)
    return pending + sql.COUNT_DUE.one(connection, chain_id=chain_id, now_ms=now_ms)
