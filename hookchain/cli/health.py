"""`hookchain healthcheck` and `version`: what machines ask, often."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hookchain import __version__
from hookchain.cli.api import running_server


def healthcheck(
    wait: Annotated[float, typer.Option(help="Seconds to wait for the server to become ready.", min=0)] = 0,
) -> None:
    """Exit with 0 if the server is ready, with 1 if not. For containers."""
    server = running_server()
    deadline_s = time.monotonic() + wait
    while time.monotonic() < deadline_s and not server.is_up():
        time.sleep(0.2)
    print(server.get("/readyz")["status"])


def version() -> None:
    """Print the version."""
    print(f"hookchain {__version__}")
