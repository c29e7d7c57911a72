"""`hookchain tasks` and `events`: lists, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say, say_json
from hookchain.printable import printable_in
from hooks.api.answers import EventPage, Task, TaskPage

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
    listed: list[Task] = []
    cursor: str | None = ""
    # A page may have fewer tasks than the limit without being the last one.
    while cursor is not None and len(listed) < limit:
        more = {"cursor": cursor} if cursor else {}
        page = running_server().get("/api/tasks", TaskPage, limit=limit - len(listed), **filters, **more)
        listed += page.tasks
        cursor = page.cursor
    if as_json:
        say_json(listed)
        return
    listed = printable_in(listed)
    for task in listed:
        progress = "" if task.progress is None else f"{task.progress} %"
        say(
            f"{task.id}\t{task.upstream}\t{task.action}\t{task.status} {progress}\t"
            f"{task.created_at}\t{task.prompt[:60]}"
        )


def events(
    task: Annotated[str, typer.Argument(help="Task id.")], limit: Most = 50, as_json: AsJson = False
) -> None:
    """List the events of a task, newest first."""
    listed = running_server().get("/api/events", EventPage, task_id=task, limit=limit).events
    if as_json:
        say_json(listed)
        return
    listed = printable_in(listed)
    for event in listed:
        progress = "" if event.progress is None else f" {event.progress} %"
        say(
            f"{event.id}\t{event.received_at}\t{event.source}\t{event.status}{progress}\t"
            f"{event.signal or ('stale' if event.stale else '-')}"
        )
