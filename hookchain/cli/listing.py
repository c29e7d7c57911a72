"""`hookchain tasks` and `events`: lists, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from hookchain.cli.api import running_server
from hookchain.cli.output import say_json
from hookchain.cli.table import say_rows
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
    say_rows(
        [
            [
                task.id,
                task.upstream,
                task.action,
                task.status if task.progress is None else f"{task.status} {task.progress} %",
                task.created_at,
                task.prompt,
            ]
            for task in listed
        ],
        cuts_last=True,
    )


def events(
    task: Annotated[str, typer.Argument(help="Task id.")], limit: Most = 50, as_json: AsJson = False
) -> None:
    """List the events of a task, newest first."""
    listed = running_server().get("/api/events", EventPage, task_id=task, limit=limit).events
    if as_json:
        say_json(listed)
        return
    say_rows(
        [
            [
                str(event.id),
                event.received_at,
                event.source,
                event.status if event.progress is None else f"{event.status} {event.progress} %",
                event.signal or ("stale" if event.stale else "-"),
            ]
            for event in listed
        ]
    )
