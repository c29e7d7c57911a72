"""A chain as a tree in the terminal, redrawn as it grows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import quote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hookchain.cli.api import Server
from hookchain.cli.output import say
from hookchain.printable import printable_in
from hooks.api.answers import ChainDetail, Submission, Task

POLL_INTERVAL_S = 0.2
COMPLETE_AFTER_S = 2.0
"""A chain counts as complete once nothing in it has changed for this long and nothing is due."""

_COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "CANCEL": "yellow",
    "MODAL": "magenta",
    "IN_PROGRESS": "cyan",
}
_OPEN_STATES = ("waiting", "sending")
_ENDED = ("SUCCESS", "FAILURE", "CANCEL")


def follow_chain(server: Server, chain_id: str) -> bool:
    """Draw the chain until it is complete. True if its root task ended with SUCCESS."""
    console = Console()
    shown = printable_in(server.get(f"/api/chains/{quote(chain_id, safe='')}", ChainDetail))
    printed: set[str] = set()
    with Live(
        tree_of(shown), console=console, refresh_per_second=10, transient=not console.is_terminal
    ) as live:
        idle_since = time.monotonic()
        while True:
            # The API has no stream, and the stream of the dashboard is HTML.
            time.sleep(POLL_INTERVAL_S)
            current = printable_in(server.get(f"/api/chains/{quote(chain_id, safe='')}", ChainDetail))
            if current != shown or not _is_idle(current):
                idle_since = time.monotonic()
            if current != shown:
                shown = current
                live.update(tree_of(shown))
                if not console.is_terminal:
                    _print_changes(shown, printed)
            if time.monotonic() - idle_since >= COMPLETE_AFTER_S:
                break
    if not console.is_terminal:
        console.print(tree_of(shown))
    return bool(shown.tasks) and shown.tasks[0].status == "SUCCESS"


def _is_idle(chain: ChainDetail) -> bool:
    """True if nothing is running and rules and plugins have seen every event. A modal without an answer counts as idle."""
    if chain.untold or any(submission.state in _OPEN_STATES for submission in chain.submissions):
        return False
    return (
        all(task.status in (*_ENDED, "MODAL") for task in chain.tasks) and bool(chain.tasks)
    ) or _has_failed(chain)


def _has_failed(chain: ChainDetail) -> bool:
    """True if no submission has made a task and none will be sent again."""
    return not chain.tasks and all(
        submission.state in ("rejected", "dead", "uncertain") for submission in chain.submissions
    )


def _print_changes(chain: ChainDetail, printed: set[str]) -> None:
    for task in chain.tasks:
        line = f"{task.id} {task.action or '?'} {task.status}"
        if line not in printed:
            printed.add(line)
            say(line)


def tree_of(chain: ChainDetail) -> RenderableType:
    """The chain as a tree: each task below its parent, with the button that was pressed and who pressed it."""
    made_by = {submission.id: submission for submission in chain.submissions}
    tree = Tree(Text(f"chain {chain.id} at {chain.upstream}", style="bold"), guide_style="dim")
    branches: dict[str, Tree] = {}
    for task in chain.tasks:
        if _superseded(task, made_by):
            continue
        parent = branches.get(task.parent_id or "", tree)
        branches[task.id] = parent.add(_node(task, made_by.get(task.submission_id or "")))
    without_task = [
        submission
        for submission in chain.submissions
        if not submission.task_ids and submission.kind != "modal"
    ]
    for submission in without_task:
        branches.get(submission.parent_id or "", tree).add(_submission_node(submission))
    return Group(tree)


def _superseded(task: Task, made_by: Mapping[str, Submission]) -> bool:
    """True for a modal task that was lost and has been replaced: its submission now belongs to another task."""
    submission = made_by.get(task.submission_id or "")
    return task.status == "MODAL" and submission is not None and task.id not in submission.task_ids


def _node(task: Task, submission: Submission | None) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    status = task.status
    pressed = f"{submission.label} ({submission.asked_by})" if submission and submission.parent_id else ""
    cells: list[RenderableType] = [Text(pressed, style="bold")] if pressed else []
    cells += [Text(task.action or "?"), Text(task.id, style="dim")]
    if status not in _ENDED:
        cells.append(ProgressBar(total=100, completed=task.progress or 0, width=20))
    percent = f" {task.progress} %" if status == "IN_PROGRESS" and task.progress is not None else ""
    cells.append(Text(status + percent, style=_COLOURS.get(status, "dim")))
    detail = task.fail_reason or (task.prompt if not pressed else "")
    cells.append(Text(detail[:60]))
    row.add_row(*cells)
    return row


def _submission_node(submission: Submission) -> RenderableType:
    due = f", due {submission.run_at}" if submission.state == "waiting" else ""
    reason = due + (f": {submission.reason}" if submission.reason else "")
    colour = "red" if submission.state in ("rejected", "dead", "uncertain") else "dim"
    return Text(f"{submission.label} ({submission.asked_by}) {submission.state}{reason}", style=colour)
