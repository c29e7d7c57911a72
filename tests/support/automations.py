"""The examples that are more than one built-in, as docs/how-to/automations.md lists them; and one that runs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import HookchainServer, client
from tests.support.tried import accepted, busy, run

AUTOMATIONS = frozenset(
    {
        "a-b",
        "animate-and-keep",
        "ask-first",
        "at-night",
        "clients",
        "daily-budget",
        "describe-elsewhere",
        "every-monday",
        "finals",
        "later",
        "left-half",
        "per-customer",
        "quarters",
        "soften",
        "subtle",
        "unless-pressed",
        "wide-only",
        "zoom-three-times",
    }
)
"""By their names in `examples/`."""

SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"
"""What signs the messages of those that forward."""


class Automation:
    """A server with an example, and its sandbox."""

    def __init__(
        self,
        server: HookchainServer,
        sandbox_url: str,
        folder: Path,
        eventually: Callable[..., Any],
        environment: dict[str, str],
    ) -> None:
        self.server, self.folder, self.eventually = server, folder, eventually
        self.environment = environment
        self.sandbox = client(sandbox_url)

    def run(self, *command: str, ready: str = "accepted|waiting", code: int = 0) -> str:
        """Run a command beside the server; what it printed."""
        return run(
            [*command],
            self.folder,
            self.environment | {"PORT": self.server.url.rpartition(":")[2]},
            ready,
            code,
        )

    def submissions(self) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        found: list[dict[str, Any]] = self.server.get("/api/submissions?limit=500")["submissions"]
        return sorted(found, key=lambda one: str(one["created_at"]))

    def states(self) -> dict[str, str]:
        """States of submissions by label; for several of one label, the newest."""
        return {one["label"]: one["state"] for one in self.submissions()}

    def presses(self) -> list[str]:
        """The customIds that the sandbox accepted, without their jobs."""
        return [":".join(body["customId"].split("::")[2:4]) for body in accepted(self.sandbox, "/action")]

    def rests(self) -> None:
        """Wait until nothing is to be done."""
        self.eventually(lambda: not busy(self.server))
