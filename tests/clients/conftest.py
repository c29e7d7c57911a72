"""Clients that others wrote, unchanged, at a gateway of ours in front of the sandbox. CLIENTS names the folder that they are in.

CONTRIBUTING.md says how the folder is made. Nothing of the clients is in this repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.driven import DRIVERS, Driven
from tests.conftest import HookchainServer, Sandbox

KEY = "a-key-of-a-client"
TOML = """
[upstreams.main]
url = "{url}"
dialect = "{dialect}"
look_after_s = 0.3
quiet_s = 0.7

[clients.shop]
key = "{key}"
hook_hosts = ["127.0.0.1", "localhost"]
{more}
"""


@pytest.fixture(autouse=True)
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of a module's `CLIENT`; its tests are skipped if it is not there."""
    root = os.environ.get("CLIENTS", "")
    if not root:
        pytest.skip("CLIENTS names no folder of clients: make clients CLIENTS=FOLDER")
    name: str = request.module.CLIENT
    if not (found := Path(root).resolve() / name).is_dir():
        pytest.skip(f"there is no {name} in {root}")
    return found


class Place:
    """A gateway of ours, the sandbox behind it, and the address that a client is given."""

    def __init__(self, sandbox: Sandbox, server: HookchainServer) -> None:
        self.sandbox = sandbox
        self.server = server

    @property
    def url(self) -> str:
        """The base URL; a client's key goes with each request."""
        return self.server.url

    @property
    def url_with_key(self) -> str:
        """The base URL for clients that have no field for a key."""
        return f"{self.server.url}/k/{KEY}"

    def billed(self) -> dict[str, int]:
        """What the sandbox charged for, by kind."""
        return {kind: count for kind, count in self.sandbox.ledger()["billed"].items() if count}


@pytest.fixture
def start_place(start_sandbox: Any, start_server: Any) -> Callable[..., Place]:
    """Start a gateway in front of a sandbox with options."""

    def start(*options: str, dialect: str = "mj-plus", more: str = "", speed: str = "20") -> Place:
        sandbox = start_sandbox("--speed", speed, "--dialect", dialect, *options)
        toml = TOML.format(url=sandbox.url, dialect=dialect, key=KEY, more=more)
        return Place(sandbox, start_server(toml=toml))

    return start


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driven]]:
    """Start a driver with a client in it."""
    started: list[Driven] = []

    def start(folder: Path, driver: str, *arguments: str, **environment: str) -> Driven:
        command = [*_interpreter(folder, driver), str(DRIVERS / driver), *arguments]
        started.append(Driven(command, cwd=tmp_path, environment={"CLIENT": str(folder), **environment}))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _interpreter(folder: Path, driver: str) -> list[str]:
    """The Python of the folder's environment, or tsx with the client's own aliases of paths."""
    if driver.endswith(".py"):
        return [str(folder.parent / "python" / "bin" / "python")]
    tsx = str(folder.parent / "tools" / "node_modules" / ".bin" / "tsx")
    return [tsx, "--tsconfig", str(folder / "tsconfig.json")]
