"""All routes of the application, as it is put together for a server: what a test says of each holds for new ones too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest import mock

from starlette.applications import Starlette
from starlette.routing import Route

from hookchain.settings.load import load_settings
from hookchain.wiring import connect_receivers, running
from hooks import app


def app_routes(directory: Path) -> list[Route]:
    """All but the callbacks', which come before them. `directory` is where a database may be made."""
    made: list[Starlette] = []

    class Remembered(Starlette):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    async def start() -> None:
        settings = load_settings({"HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9"}, directory)
        with mock.patch.object(app, "Starlette", Remembered):
            async with running(settings, connect_receivers(settings), with_worker=False):
                pass

    asyncio.run(start())
    (application,) = made
    routes = [one for one in application.routes if isinstance(one, Route)]
    assert routes == application.routes  # a mount or a websocket is seen by nobody who asks here
    return routes


def filled(path: str) -> str:
    """A path of a route, with something in each of its places."""
    for place in ("{upstream}", "{name}"):
        path = path.replace(place, "main")
    for place in ("{task_id:path}", "{id:path}", "{id}", "{token}", "{number}"):
        path = path.replace(place, "1")
    return path
