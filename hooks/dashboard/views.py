"""Converts records to what pages show: cards, and the tree of a chain. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from midjourney.decode import kept_task
from midjourney.types import Task
from storage import clock
from storage.reading.cards import WAITING, Card, loose_id
from storage.records import Submission, TaskRow, beginning

Payloads = Mapping[tuple[str, str], bytes]
"""The newest payloads of tasks, by (upstream, id)."""

STRIP = 4
"""Most small pictures under the large one."""

DEEPEST = 100
"""Most levels of a tree; a deeper task becomes a root."""

Key = tuple[str, str]
"""Upstream and id of a task, or "" and the id of a submission."""

_NOT_NODES = ("modal", "cancel")
"""Kinds of submissions that make no new task."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A task's picture; `alt` says what it shows."""

    upstream: str
    task_id: str
    url: str
    alt: str


class CardView(msgspec.Struct, frozen=True, kw_only=True):
    """A card as it is shown. `progress` is a percentage, None if nothing runs; `used` counts the submissions of rules and plugins.
    `client`: whose order began the chain, or ""."""

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
    client: str


class Node(msgspec.Struct, kw_only=True):
    """A task in its chain, or a submission that has not made a task yet.

    `label` is the button that led to it, `by` who pressed it: a rule, a plugin's function or a person. `kind` classifies a failure. `due_ms`:
    when a waiting submission is due, 0 if it is due already.
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
    kind: str
    children: list[Node]
    due_ms: int = 0


def card_view(card: Card, payloads: Payloads) -> CardView:
    """Return a card, made from stored records and the newest payloads."""
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
        used=card.chain.automatic if card.chain is not None else 0,
        client=card.chain.client if card.chain is not None else "",
    )


def key_of(card: Card) -> str:
    """Return a name for the card's element, made of letters and digits."""
    if card.chain is not None:
        return card.chain.id
    return loose_id(card.tasks[0])


def href_of(card: Card) -> str:
    """Return the path of the page that shows the whole chain."""
    if card.chain is not None:
        return f"/chains/{card.chain.id}"
    return f"/chains/of/{quote(card.tasks[0].upstream, safe='')}/{quote(card.tasks[0].id, safe='')}"


def tree(card: Card, payloads: Payloads) -> list[Node]:
    """Return the roots of a chain, each with its descendants. A task without a known parent is a root too."""
    made = {submission.id: submission for submission in card.submissions}
    nodes: dict[Key, Node] = {}
    parents: dict[Key, Key] = {}
    for row in card.tasks:
        key = (row.upstream, row.id)
        nodes[key] = _node(row, made.get(row.submission_id or ""), _task(row, payloads))
        parents[key] = (row.upstream, row.parent_id)
    for submission in card.submissions:
        if (
            submission.kind not in _NOT_NODES
            and not {(submission.upstream, task_id) for task_id in submission.task_ids} & nodes.keys()
        ):
            nodes["", submission.id] = _pending(submission)
            parents["", submission.id] = (submission.upstream, submission.parent_id)
    roots = []
    for key, node in nodes.items():
        parent = nodes.get(parents[key])
        if parent is None or not _is_attachable(key, parents):
            roots.append(node)
        else:
            parent.children.append(node)
    return roots


def _is_attachable(key: Key, parents: Mapping[Key, Key]) -> bool:
    """True if a root lies at most `DEEPEST` levels above it. Senders have sent tasks that are their own ancestors."""
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
        reason=beginning(task.fail_reason) if task is not None else "",
        kind=task.failure_kind if task is not None else "",
        children=[],
    )


def _pending(submission: Submission) -> Node:
    return Node(
        key=submission.id,
        upstream=submission.upstream,
        task_id="",
        status=submission.state,
        progress=None,
        label=submission.label,
        by=submission.asked_by,
        picture=None,
        reason="" if submission.state in WAITING else submission.reason,
        kind="" if submission.state in WAITING else submission.failure_kind,
        children=[],
        due_ms=submission.run_at_ms
        if submission.state == "waiting" and submission.run_at_ms > clock.now_ms()
        else 0,
    )


def _task(row: TaskRow, payloads: Payloads) -> Task | None:
    return kept_task(payloads.get((row.upstream, row.id), b""))


def _picture(row: TaskRow, task: Task) -> Picture:
    alt = task.prompt or row.prompt or row.action.lower()
    return Picture(upstream=row.upstream, task_id=row.id, url=task.image_url, alt=alt[:200])
