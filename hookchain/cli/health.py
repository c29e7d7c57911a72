"""`hookchain healthcheck` and `version`: commands that other programs run often."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from hookchain import __version__
from hookchain.cli.api import running_server
from hookchain.cli.output import say


class _Health(msgspec.Struct, frozen=True):
    status: str


def healthcheck(
    wait: Annotated[float, typer.Option(help="Seconds to wait for the server to start.", min=0)] = 0,
    ready: Annotated[
        bool, typer.Option("--ready", help="Also check that the database is writable and a worker is alive.")
    ] = False,
) -> None:
    """Exit with 0 if the server answers, with 1 if it does not. For container health checks.

    Platforms restart a container whose check fails, or stop routing to it. Neither helps if the database is unavailable, so
    only --ready checks the database.
    """
    server = running_server()
    deadline_s = time.monotonic() + wait
    while time.monotonic() < deadline_s and not server.is_up():
        time.sleep(0.2)
    say(server.get("/readyz" if ready else "/healthz", _Health).status)


def version() -> None:
    """Print the version."""
    say(f"hookchain {__version__}")
