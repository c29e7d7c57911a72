"""Submissions without a running server: queued in the database for the next server that starts."""

from __future__ import annotations

import asyncio

import msgspec

from dispatcher.by_hand import commands
from hookchain.cli.api import CallFailed
from hookchain.cli.output import say, say_json
from hookchain.settings.load import Settings, SettingsError
from hookchain.wiring import open_database
from midjourney.requests import Imagine
from storage.clock import now_ms


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that the next server makes, as --json prints it."""

    id: str
    state: str = "waiting"


def queue_imagine(
    settings: Settings, prompt: str, upstream: str, mode: str = "", state: str = "", *, as_json: bool = False
) -> None:
    """Queue a submission for the next server that starts. `state` comes back as `task.state`.

    Raises `SettingsError` if no such upstream is configured, and `CallFailed` if the submission is refused.
    """
    name = upstream or next(iter(settings.upstreams), "")
    if name not in settings.upstreams:
        raise SettingsError(
            f"no server is running, and no upstream {name!r} is configured; start `hookchain serve` first"
            if name
            else "no server is running and no upstream is configured; start `hookchain serve` first"
        )

    async def stage() -> str:
        database = await open_database(settings)
        try:
            staged = await database.write(
                "command",
                lambda connection: commands.submit(
                    connection,
                    Imagine(prompt=prompt, extra={"state": state} if state else {}),
                    upstream=name,
                    dialect=settings.dialects[settings.upstreams[name].dialect],
                    asked_by="cli",
                    mode=mode,
                    now_ms=now_ms(),
                ),
            )
        finally:
            await database.close()
        if staged.refused:
            raise CallFailed(staged.refused)
        return staged.submission_id

    try:
        submission_id = asyncio.run(stage())
    except commands.CommandError as error:
        raise CallFailed(str(error)) from error
    if as_json:
        say_json(Queued(id=submission_id), indent=None)
    say(
        f"no server is running: submission {submission_id} is queued until you start `hookchain serve`",
        to_errors=as_json,
    )
