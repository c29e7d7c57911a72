"""`hookchain healthcheck` and `version`: what machines ask, often."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hookchain import __version__
from hookchain.cli.api import running_server


def healthcheck(
    wait: Annotated[float, typer.Option(help="Seconds to wait for the server to start.", min=0)] = 0,
    ready: Annotated[
        bool, typer.Option("--ready", help="Also check that the database is writable and a worker is alive.")
    ] = False,
) -> None:
    """Exit with 0 if the server answers, with 1 if it does not. For container health checks.

    Platforms restart a container whose check fails, or take it out of routing. Neither brings back an unavailable
    database, so only --ready checks the database.
    """
    server = running_server()
    deadline_s = time.monotonic() + wait
    while time.monotonic() < deadline_s and not server.is_up():
        time.sleep(0.2)
    print(server.get("/readyz" if ready else "/healthz")["status"])


def version() -> None:
    """Print the version."""
    print(f"hookchain {__version__}")
