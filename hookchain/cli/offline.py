"""Submissions without a running server: queued in the database for the next server that starts."""

from __future__ import annotations

import asyncio

from dispatcher.by_hand import commands
from hookchain.cli.api import CallFailed
from hookchain.cli.output import say
from hookchain.settings.load import Settings, SettingsError
from hookchain.wiring import open_database
from midjourney.requests import Imagine
from storage.clock import now_ms


def queue_imagine(settings: Settings, prompt: str, upstream: str, mode: str = "") -> None:
    """Queue a submission for the next server that starts.

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
                    Imagine(prompt=prompt),
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
    say(f"no server is running: submission {submission_id} is queued until you start `hookchain serve`")
