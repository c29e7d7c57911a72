"""adnanh/webhook and curl: a command for each callback. It keeps nothing, and answers when its command has ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import Contender, Running
from benchmarks.peers import installed
from benchmarks.processes import free_port, started, wait_for

NAME = "webhook + curl"

_SCRIPT = """#!/bin/sh
exec curl -s -S -f -o /dev/null -H 'content-type: application/json' -d "{\\"taskId\\":\\"$1\\",\\"customId\\":\\"$2\\"}" URL
"""


def contender() -> Contender:
    """The system's webhook and curl (Debian: the packages of the same names)."""
    try:
        webhook = installed.program("webhook")
        installed.program("curl")
    except installed.MissingError as error:
        return Contender(name=NAME, missing=str(error))

    @contextlib.contextmanager
    def start(directory: Path, upstream_port: int, _follows: bool) -> Iterator[Running]:
        port = free_port()
        script = directory / "follow-up.sh"
        script.write_text(_SCRIPT.replace("URL", f"http://127.0.0.1:{upstream_port}/mj/submit/action"))
        script.chmod(0o755)
        arguments = [{"source": "payload", "name": name} for name in ("id", "buttons.0.customId")]
        is_over = {"type": "value", "value": "SUCCESS", "parameter": {"source": "payload", "name": "status"}}
        hook = {
            "id": "hook",
            "execute-command": str(script),
            "pass-arguments-to-command": arguments,
            # Otherwise nothing bounds how many commands run at once.
            "include-command-output-in-response": True,
            "trigger-rule": {"match": is_over},
            "trigger-rule-mismatch-http-response-code": 200,
        }
        (directory / "hooks.json").write_text(json.dumps([hook]))
        command = [webhook, "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(port)]
        with started(command, directory, {}) as process:
            wait_for(port, process)
            yield Running(port=port, process_ids=(process.pid,), path="/hooks/hook")

    return Contender(name=NAME, start=start, stores=False)
