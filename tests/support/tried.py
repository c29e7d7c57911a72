"""An example that runs: the command that its page names, and what must have come of it in a server and in its sandbox's ledger."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from midjourney.buttons import Button
from tests.conftest import HookchainServer, Process

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SERVE = ["-m", "hookchain", "serve", "--port", "0", "--sandbox-speed", "30"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What must have been made in the end: tasks by action, presses by kind, prompts of imagines and of modals, files, messages, pictures attached. An
    example is tried with the command that it names, and the built-in sandbox as it starts, unless it needs `faults`."""

    tasks: dict[str, int]
    presses: dict[str, int] = {}
    imagines: tuple[str, ...] | None = None
    modals: tuple[str, ...] = ()
    faults: str = ""
    status: str = "SUCCESS"
    files: tuple[str, ...] = ()
    messages: int = 0
    attached: int = 0


def command_of(name: str) -> list[str]:
    """The command by which the page of an example starts a chain, without `hookchain`."""
    tried = re.findall(r"^# Try it: hookchain (.+)$", (EXAMPLES / f"{name}.toml").read_text(), re.MULTILINE)
    assert len(tried) == 1, f"examples/{name}.toml names one command to try"
    return shlex.split(tried[0])


def run(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    ready: str = "accepted|waiting",
    code: int = 0,
) -> str:
    """Run a command of ours beside the server, which must end with this exit code; what it printed."""
    ran = Process(
        ["-m", "hookchain", *command],
        ready=ready,
        cwd=folder,
        environment=environment | {"HOOKCHAIN_SECRET": "a test's secret"},
    )
    assert ran.wait() == code, ran.output
    return ran.output


def busy(server: HookchainServer) -> bool:
    """Whether anything is still to be done; asked in the order in which one thing becomes the next."""
    if "hookchain_events_waiting 0.0\n" not in server.http.get("/metrics").text:
        return True
    return any(
        one["state"] in ("waiting", "running")
        for one in server.get("/api/deliveries?limit=500")["deliveries"]
    ) or any(
        one["state"] in ("waiting", "sending", "uncertain")
        for one in server.get("/api/submissions?limit=500")["submissions"]
    )


def accepted(sandbox: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Bodies of the submits to this path that made a task, or opened a window."""
    submits = sandbox.get("/sandbox/ledger").json()["submissions"]
    return [
        entry["body"] for entry in submits if entry["path"].endswith(path) and entry["code"] in (1, 21, 22)
    ]


def comes_of(
    case: Case,
    server: HookchainServer,
    sandbox: httpx.Client,
    eventually: Callable[..., Any],
    told: list[Any],
    folder: Path,
) -> None:
    """Nothing more, nothing less has been made than a case says, and all is at rest afterwards."""

    def made() -> bool:
        tasks = server.get("/api/tasks?limit=100")["tasks"]
        ended = Counter(task["action"] for task in tasks if task["status"] == case.status)
        return ended == case.tasks and len(told) == case.messages and not busy(server)

    eventually(made)
    presses = [body["customId"] for body in accepted(sandbox, "/action")]
    assert Counter(Button(custom_id=custom_id).kind for custom_id in presses) == case.presses
    assert tuple(body["prompt"] for body in accepted(sandbox, "/modal")) == case.modals
    if case.imagines is not None:
        assert tuple(body["prompt"] for body in accepted(sandbox, "/imagine")) == case.imagines
    assert sum(len(message.get("attachments", [])) for message in told) == case.attached
    for ending in case.files:
        assert [path for path in (folder / "pictures").rglob(f"*{ending}") if path.stat().st_size], ending
    assert server.get("/api/dead-letters")["dead_letters"] == []
