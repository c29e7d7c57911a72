"""What pages show of records: cards, and the tree of a chain. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from midjourney.decode import kept_task
from midjourney.types import Task
from storage.cards import WAITING, Card, loose_id
from storage.records import Submission, TaskRow, beginning

Payloads = Mapping[tuple[str, str], bytes]
"""The newest payloads of tasks, by (upstream, id)."""

STRIP = 4
"""Small pictures under the large one."""

DEEPEST = 100
"""Levels of a tree; what is deeper stands beside it."""

Key = tuple[str, str]
"""Upstream and id of a task; "" and the id of a submission."""

_NOT_NODES = ("modal", "cancel")
"""Kinds of submissions that make no task of their own."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A task's picture; `alt` says what it shows."""

    upstream: str
    task_id: str
    url: str
    alt: str


class CardView(msgspec.Struct, frozen=True, kw_only=True):
    """A card as it is shown. `progress` is a percentage, None where nothing runs; `used` counts submissions."""

    key: str
    href: str
    prompt: str
    status: str
    progress: int | None
    main: Picture | None
    strip: tuple[Picture, ...]
    upstream: str
    created_at_ms: int
    tasks: int
    used: int


class Node(msgspec.Struct, kw_only=True):
    """A task in its chain, or a submission that has made none yet.

    `label` is the button that led to it, `by` who pressed it: a rule, a plugin's function, a person.
    """

    key: str
    upstream: str
    task_id: str
    status: str
    progress: int | None
    label: str
    by: str
    picture: Picture | None
    reason: str
    children: list[Node]


def card_view(card: Card, payloads: Payloads) -> CardView:
    """A card, from what is kept and what the tasks showed last."""
    shown = [(row, _task(row, payloads)) for row in card.tasks]
    pictures = [_picture(row, task) for row, task in shown if task is not None and task.image_url]
    going = [row for row in card.tasks if row.finished_at_ms is None and row.status != "MODAL"]
    running = [max(row.progress, 0) for row in going]
    prompt = card.chain.prompt if card.chain is not None else ""
    prompt = prompt or next((task.prompt for _, task in shown if task is not None and task.prompt), "")
    return CardView(
        key=key_of(card),
        href=href_of(card),
        prompt=beginning(prompt),
        status=card.status,
        progress=sum(running) // len(running) if running else None,
        main=pictures[0] if pictures else None,
        strip=tuple(pictures[1 : 1 + STRIP]),
        upstream=card.upstream,
        created_at_ms=card.created_at_ms,
        tasks=len(card.tasks),
        used=card.chain.submissions if card.chain is not None else 0,
    )


def key_of(card: Card) -> str:
    """A name for the card's element, of letters and digits."""
    if card.chain is not None:
        return card.chain.id
    return loose_id(card.tasks[0])


def href_of(card: Card) -> str:
    """Where the whole of it is shown."""
    if card.chain is not None:
        return f"/chains/{card.chain.id}"
    return f"/chains/of/{quote(card.tasks[0].upstream, safe='')}/{quote(card.tasks[0].id, safe='')}"


def tree(card: Card, payloads: Payloads) -> list[Node]:
    """The roots of a chain, each with what grew from it; a task whose parent is not there is a root too."""
    made = {one.id: one for one in card.submissions}
    nodes: dict[Key, Node] = {}
    parents: dict[Key, Key] = {}
    for row in card.tasks:
        key = (row.upstream, row.id)
        nodes[key] = _node(row, made.get(row.submission_id or ""), _task(row, payloads))
        parents[key] = (row.upstream, row.parent_id)
    for one in card.submissions:
        if (
            one.kind not in _NOT_NODES
            and not {(one.upstream, task_id) for task_id in one.task_ids} & nodes.keys()
        ):
            nodes["", one.id] = _pending(one)
            parents["", one.id] = (one.upstream, one.parent_id)
    roots = []
    for key, node in nodes.items():
        parent = nodes.get(parents[key])
        if parent is None or not _hangs(key, parents):
            roots.append(node)
        else:
            parent.children.append(node)
    return roots


def _hangs(key: Key, parents: Mapping[Key, Key]) -> bool:
    """Whether it hangs below a root, and not too deep: senders have written tasks that are their own ancestors."""
    for _ in range(DEEPEST):
        if (above := parents.get(key)) is None:
            return True
        key = above
    return False


def _node(row: TaskRow, submission: Submission | None, task: Task | None) -> Node:
    return Node(
        key=loose_id(row),
        upstream=row.upstream,
        task_id=row.id,
        status=row.status or "NOT_START",
        progress=max(row.progress, 0) if row.finished_at_ms is None and row.status != "MODAL" else None,
        label=submission.label if submission is not None else row.action.lower(),
        by=submission.asked_by if submission is not None else "",
        picture=_picture(row, task) if task is not None and task.image_url else None,
        reason=task.fail_reason if task is not None else "",
        children=[],
    )


def _pending(one: Submission) -> Node:
    return Node(
        key=one.id,
        upstream=one.upstream,
        task_id="",
        status=one.state,
        progress=None,
        label=one.label,
        by=one.asked_by,
        picture=None,
        reason="" if one.state in WAITING else one.reason,
        children=[],
    )


def _task(row: TaskRow, payloads: Payloads) -> Task | None:
    return kept_task(payloads.get((row.upstream, row.id), b""))


def _picture(row: TaskRow, task: Task) -> Picture:
    alt = task.prompt or row.prompt or row.action.lower()
    return Picture(upstream=row.upstream, task_id=row.id, url=task.image_url, alt=alt[:200])
