"""A chain as a tree in the terminal, redrawn as it grows."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hookchain.cli.api import Server

LOOK_EVERY_S = 0.2
RESTS_AFTER_S = 2.0
"""A chain that nothing has moved in for this long, and in which nothing is due, is taken to be at its end."""

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
    """Draw the chain until it rests; True when its root came to SUCCESS."""
    console = Console()
    shown = server.get(f"/api/chains/{chain_id}")
    printed: set[str] = set()
    with Live(
        tree_of(shown), console=console, refresh_per_second=10, transient=not console.is_terminal
    ) as live:
        rests_since = time.monotonic()
        while True:
            time.sleep(LOOK_EVERY_S)  # the API has no stream; that of the pages is HTML
            seen = server.get(f"/api/chains/{chain_id}")
            if seen != shown or not _rests(seen):
                rests_since = time.monotonic()
            if seen != shown:
                shown = seen
                live.update(tree_of(shown))
                if not console.is_terminal:
                    _print_news(shown, printed)
            if time.monotonic() - rests_since >= RESTS_AFTER_S:
                break
    if not console.is_terminal:
        console.print(tree_of(shown))
    return bool(shown["tasks"]) and shown["tasks"][0]["status"] == "SUCCESS"


def _rests(chain: dict[str, Any]) -> bool:
    """Nothing is under way, and rules and plugins know of all that was; a window that nobody has answered rests too."""
    if chain["untold"] or any(one["state"] in _OPEN_STATES for one in chain["submissions"]):
        return False
    return (
        all(task["status"] in (*_ENDED, "MODAL") for task in chain["tasks"]) and bool(chain["tasks"])
    ) or _refused(chain)


def _refused(chain: dict[str, Any]) -> bool:
    return not chain["tasks"] and all(
        one["state"] in ("rejected", "dead", "uncertain") for one in chain["submissions"]
    )


def _print_news(chain: dict[str, Any], printed: set[str]) -> None:
    for task in chain["tasks"]:
        line = f"{task['id']} {task['action'] or '?'} {task['status']}"
        if line not in printed:
            printed.add(line)
            print(line, flush=True)


def tree_of(chain: dict[str, Any]) -> RenderableType:
    """The chain as a tree: each task below the one it was pressed on, with the button and who pressed it."""
    made_by = {submission["id"]: submission for submission in chain["submissions"]}
    tree = Tree(Text(f"chain {chain['id']} at {chain['upstream']}", style="bold"), guide_style="dim")
    branches: dict[str, Tree] = {}
    for task in chain["tasks"]:
        if _superseded(task, made_by):
            continue
        above = branches.get(task["parent_id"] or "", tree)
        branches[task["id"]] = above.add(_node(task, made_by.get(task["submission_id"] or "")))
    waiting = [one for one in chain["submissions"] if not one["task_ids"] and one["kind"] != "modal"]
    for submission in waiting:
        branches.get(submission["parent_id"] or "", tree).add(_waiting(submission))
    return Group(tree)


def _superseded(task: dict[str, Any], made_by: dict[str, Any]) -> bool:
    """A window that was opened anew because the first one was lost."""
    submission = made_by.get(task["submission_id"] or "")
    return task["status"] == "MODAL" and submission is not None and task["id"] not in submission["task_ids"]


def _node(task: dict[str, Any], submission: dict[str, Any] | None) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    status = task["status"]
    pressed = (
        f"{submission['label']} ({submission['asked_by']})" if submission and submission["parent_id"] else ""
    )
    cells: list[RenderableType] = [Text(pressed, style="bold")] if pressed else []
    cells += [Text(task["action"] or "?"), Text(task["id"], style="dim")]
    if status not in _ENDED:
        cells.append(ProgressBar(total=100, completed=task["progress"] or 0, width=20))
    percent = f" {task['progress']} %" if status == "IN_PROGRESS" and task["progress"] is not None else ""
    cells.append(Text(status + percent, style=_COLOURS.get(status, "dim")))
    told = task["fail_reason"] or (task["prompt"] if not pressed else "")
    cells.append(Text(told[:60]))
    row.add_row(*cells)
    return row


def _waiting(submission: dict[str, Any]) -> RenderableType:
    reason = f": {submission['reason']}" if submission["reason"] else ""
    colour = "red" if submission["state"] in ("rejected", "dead", "uncertain") else "dim"
    return Text(
        f"{submission['label']} ({submission['asked_by']}) {submission['state']}{reason}", style=colour
    )
