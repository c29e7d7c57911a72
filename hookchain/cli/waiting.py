"""`hookchain waiting`: submissions that wait to be sent; they can be dropped, or sent now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated
from urllib.parse import quote

import typer

from hookchain.cli.api import CallFailed, Server, operating
from hookchain.cli.output import say, say_json
from hookchain.printable import printable_in
from hookchain.settings.load import Settings
from hookchain.wiring import open_database
from hooks.api import waiting as api
from hooks.api.answers import Submission
from hooks.api.paging import LARGEST_PAGE
from hooks.api.reports import Waiting, WaitingPage
from storage import clock
from storage.engine import Connection
from storage.submissions import waiting as stored
from storage.tickets import withdrawing

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str], typer.Argument(help="Ids as printed by `list`.")]

WHY = {
    "scheduled": "scheduled",
    "retry": "waits to be tried again",
    "paused": "its upstream is paused",
    "held": "its upstream is busy or does not answer",
    "lane": "waits for another press on the same task",
    "turn": "waits for its turn",
}
"""What a submission waits for, in words."""

waiting = typer.Typer(help="List waiting submissions, drop them or send them now.", no_args_is_help=True)


@waiting.command("list")
def list_waiting(
    upstream: Annotated[str, typer.Option(help="Only submissions to this upstream.")] = "",
    as_json: AsJson = False,
) -> None:
    """List submissions that wait to be sent.

    Newest first, with who requested each, until when it waits, and why.
    """
    listed = _all(upstream)
    if as_json:
        say_json(listed)
        return
    listed = printable_in(listed)
    for one in listed:
        what = one.kind if one.kind == one.label else f"{one.kind} {one.label}"
        about = f"task {one.parent_id}" if one.parent_id else "no task"
        say(
            f"{one.id}\t{what}\t{about}\t{one.upstream}\tchain {one.chain_id}\t{one.asked_by}\t"
            f"due {one.run_at}\t{WHY[one.why]}"
        )
    if not listed:
        say("nothing waits")


@waiting.command("drop")
def drop_waiting(ids: Ids) -> None:
    """Drop waiting submissions: they are not sent, and cost nothing.

    No rule sends them again, but a person can still request the same.
    """
    _apply(ids, "drop", "dropped", partial(withdrawing.drop, why=api.DROPPED, now_ms=clock.now_ms()))


@waiting.command("send-now")
def send_now(ids: Ids) -> None:
    """Make waiting submissions due now. Limits of their upstreams still apply."""
    _apply(ids, "send-now", "is due now", partial(stored.send_now, now_ms=clock.now_ms()))


def _all(upstream: str) -> list[Waiting]:
    found = operating()
    server = Server(found.server())
    if not server.is_up():
        return asyncio.run(_all_stored(found.database(), upstream))
    listed: list[Waiting] = []
    query: dict[str, str | int] = {"limit": LARGEST_PAGE} | ({"upstream": upstream} if upstream else {})
    while True:
        page = server.get("/api/waiting", WaitingPage, **query)
        listed += page.waiting
        if page.cursor is None:
            return listed
        query["cursor"] = page.cursor


async def _all_stored(settings: Settings, upstream: str) -> list[Waiting]:
    """All that waits, from the database."""
    database = await open_database(settings)
    try:
        return await database.read(partial(api.every, upstream=upstream, now_ms=clock.now_ms()))
    finally:
        await database.close()


def _apply(ids: list[str], action: str, done: str, work: Callable[[Connection, str], bool]) -> None:
    """Change each submission. Raises `CallFailed` at the end with all failures, so that the exit code is 1."""
    found = operating()
    server = Server(found.server())
    failed = []
    if server.is_up():
        for id_ in ids:
            try:
                server.post(f"/api/waiting/{quote(id_, safe='')}/{action}", Submission)
                say(f"{id_}: {done}")
            except CallFailed as error:
                failed.append(f"{id_}: {error}")
    else:
        for id_, why in asyncio.run(_applied(found.database(), ids, work)).items():
            if why:
                failed.append(f"{id_}: {why}")
            else:
                say(f"{id_}: {done}")
    if failed:
        raise CallFailed("; ".join(failed))


async def _applied(
    settings: Settings, ids: list[str], work: Callable[[Connection, str], bool]
) -> dict[str, str]:
    """Change each submission in the database. Returns why one could not be changed, "" if it was."""
    database = await open_database(settings)
    try:
        problems = {id_: await database.write("command", partial(api.refused, work, id_)) for id_ in ids}
    finally:
        await database.close()
    return {id_: problem.detail if problem else "" for id_, problem in problems.items()}
