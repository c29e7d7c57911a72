"""Presses by people: if a task does not offer the button, it is read back from the upstream before the press is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from dispatcher.by_hand.commands import CommandError, NotOffered
from dispatcher.plugins.chain import UpstreamHandle
from midjourney.errors import ProtocolError
from storage import clock
from storage.engine import Connection, Database
from storage.tasks.believe import believe

T = TypeVar("T")


async def stage_with_readback(
    database: Database, handle: UpstreamHandle, work: Callable[[Connection], T]
) -> T:
    """Run `work`, which stages submissions; if it raises `NotOffered`, read the task back and run it again. The task may have
    got buttons since its last callback, or its callbacks may never have arrived.

    Raises `CommandError` if the upstream does not know the task or the button either, or cannot be reached.
    """
    try:
        return await database.write("command", work)
    except NotOffered as error:
        if handle.read_back is None:
            raise
        refusal = error
    try:
        told = await handle.read_back(refusal.task_id)
    except ProtocolError as error:
        raise CommandError(
            f"{refusal}; and the upstream does not answer: {error}", status=refusal.status
        ) from error
    if (
        refusal.status == 404
    ):  # the task is new to the database: a person's question must not trigger receivers
        told = msgspec.structs.replace(told, is_history=True)
    now_ms = clock.now_ms()
    await database.write("believe", partial(believe, report=told, now_ms=now_ms))
    return await database.write("command", work)
