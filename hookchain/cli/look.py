"""`hookchain tasks` and `events`: lists, newest first."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hookchain.cli.api import running_server

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Most = Annotated[int, typer.Option(help="Maximum number to list.", min=1, max=500)]


def tasks(
    status: Annotated[str, typer.Option(help="Only tasks in this state, such as SUCCESS or FAILURE.")] = "",
    upstream: Annotated[str, typer.Option(help="Only tasks of this upstream.")] = "",
    limit: Most = 20,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first."""
    query = {"status": status, "upstream": upstream}
    filters = {name: value for name, value in query.items() if value}
    found: list[dict[str, Any]] = running_server().get("/api/tasks", limit=limit, **filters)["tasks"]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        progress = "" if one["progress"] is None else f"{one['progress']} %"
        print(
            f"{one['id']}\t{one['upstream']}\t{one['action']}\t{one['status']} {progress}\t"
            f"{one['created_at']}\t{one['prompt'][:60]}"
        )


def events(
    task: Annotated[str, typer.Argument(help="Task id.")], limit: Most = 50, as_json: AsJson = False
) -> None:
    """List the events of a task, newest first."""
    found: list[dict[str, Any]] = running_server().get("/api/events", task_id=task, limit=limit)["events"]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        progress = "" if one["progress"] is None else f" {one['progress']} %"
        print(
            f"{one['id']}\t{one['received_at']}\t{one['source']}\t{one['status']}{progress}\t"
            f"{one['signal'] or ('stale' if one['stale'] else '-')}"
        )
