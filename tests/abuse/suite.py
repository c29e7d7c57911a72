"""Each attack of `attackers.py` beside an honest sender: what the server needed meanwhile, and what it lost.

The server, the attackers, the hostile upstream and the honest sender are processes of their own, on loopback.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.conftest import PATIENCE_S, HookchainServer

HERE = Path(__file__).parent
TOKEN = "kPq3vX9sLw2mZr7tYb5nHc8dJf4gKe6uRa1oQi0xVS"
OPEN_FILES = 1024
SENDERS_PATIENCE_S = 5.0
"""How long the honest sender of the table waits for an answer. Tests wait for longer: a machine may be slow."""
UNDER_WAY_S = 1.0
"""How long the attack goes on before the honest sender comes: nothing of it can be awaited."""

MOST_MEMORY_MB = 300
MOST_DISK_MB = 256
"""A hook's quota of an hour and the quarantine's limit, 64 MB each, in the file and in its log of changes: all attacks together fill both."""
MOST_HELPERS_MB = 640
"""What the processes that decode pictures and work out expressions may take (320 and 128 MB), with their own code."""
GOAL_P99_MS = 250


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Attacks that run at the same time. `manner` is how the hostile upstream answers; `line` is the line of the issue."""

    name: str
    line: str
    attacks: tuple[str, ...] = ()
    manner: str = "dripping"


CASES = [
    Case(name="quiet", line="-"),
    Case(name="endless head", line="4", attacks=("endless-head",)),
    Case(name="endless URL", line="4", attacks=("endless-url",)),
    Case(name="half-sent heads", line="4", attacks=("half-heads",)),
    Case(name="unread pipelines", line="4", attacks=("unread-pipelines",)),
    Case(name="silent connections", line="5", attacks=("silent",)),
    Case(name="different bodies", line="6", attacks=("different-bodies",)),
    Case(name="equal bodies", line="6", attacks=("equal-bodies",)),
    Case(name="long status and action", line="6", attacks=("long-fields",)),
    Case(name="gzip bombs", line="6", attacks=("gzipped",)),
    Case(name="/readyz", line="7", attacks=("readyz",)),
    Case(name="upstream: endless answers", line="8", attacks=("many-tasks",), manner="endless"),
    Case(name="upstream: gzip bombs", line="8", attacks=("many-tasks",), manner="gzip-bomb"),
    Case(name="upstream: a byte a second", line="8", attacks=("many-tasks",), manner="dripping"),
    Case(name="pictures that are local files", line="9", attacks=("local-files",)),
    Case(name="pixel bombs", line="10", attacks=("hostile-pictures",), manner="picture"),
    Case(name="quarantine, and its pages", line="11", attacks=("quarantine",)),
    Case(name="prompts of 1 MB, heavy rules", line="12", attacks=("heavy-prompts",)),
    Case(
        name="together",
        line="4-12",
        attacks=(
            "endless-head",
            "half-heads",
            "unread-pipelines",
            "silent",
            "different-bodies",
            "quarantine",
            "readyz",
            "local-files",
            "hostile-pictures",
            "heavy-prompts",
        ),
        manner="picture",
    ),
]

SETTINGS = """
admin_token = "{token}"

[upstreams.honest]
url = "http://127.0.0.1:9"
verify = "trust"

[upstreams.seen]
url = "{url}"
verify = "{verify}"

[[rules]]
name = "describe"
on = "task.succeeded"
if = "task.action == 'LOAD'"
describe = "{{{{ task.image_url }}}}"

[[rules]]
name = "split"
on = "task.succeeded"
if = "task.action == 'SPLIT'"
split_grid = "pictures"

[[rules]]
name = "heavy"
on = "task.succeeded"
if = "task.action == 'HEAVY' and (task.prompt | wordwrap(20) | length) > 9 and (task.prompt | sort | length) > 9"
imagine = "{{{{ task.prompt }}}}"
"""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a case. `refused` are honest callbacks that were not answered 200, `lost` those that were and are not there."""

    sent: int
    refused: list[str]
    lost: list[str]
    p99_ms: float
    memory_mb: int
    helpers_mb: int
    disk_mb: int
    is_running: bool
    attacked: dict[str, dict[str, int]]

    @property
    def faults(self) -> list[str]:
        """What should not have happened, in words."""
        found = []
        if not self.is_running:
            found.append("the server ended")
        if self.refused:
            found.append(
                f"{len(self.refused)} of {self.sent} callbacks not answered 200, such as {self.refused[0]}"
            )
        if self.lost:
            found.append(f"{len(self.lost)} acknowledged callbacks lost")
        if self.memory_mb > MOST_MEMORY_MB:
            found.append(f"{self.memory_mb} MB of memory")
        if self.helpers_mb > MOST_HELPERS_MB:
            found.append(f"{self.helpers_mb} MB of memory in helper processes")
        if self.disk_mb > MOST_DISK_MB:
            found.append(f"{self.disk_mb} MB on disk")
        return found


def _process(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, HERE / script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.environ["PATH"]} | environment,
    )


@contextmanager
def _running(case: Case, directory: Path, seconds: float) -> Iterator[tuple[HookchainServer, str]]:
    """The server, and the address of its hostile upstream, which starts first and outlives the attack."""
    upstream = _process("upstream.py", case.manner, seconds + PATIENCE_S)
    assert upstream.stdout is not None
    url = upstream.stdout.readline().strip()
    verify = "fetch" if "many-tasks" in case.attacks else "trust"
    (directory / "hookchain.toml").write_text(SETTINGS.format(token=TOKEN, url=url, verify=verify))
    os.mkfifo(directory / "fifo")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}))"
    server = HookchainServer(directory, {"HOOKCHAIN_SECRET": "a secret of the abuse suite"}, without=limited)
    try:
        yield server, url
    finally:
        server.http.close()
        server.end()
        upstream.kill()
        upstream.communicate()


def _hook(server: HookchainServer, upstream: str) -> str:
    return server.find(rf"notifyHook to register at {upstream}: https?://[^/]+(/\S+)")


def _memory_mb(pid: int) -> int:
    """The most that it has had resident at once; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    [kilobytes] = re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE) or ["0"]
    return int(kilobytes) // 1024


def _helpers_mb(pid: int) -> int:
    """The same of its children, together."""
    listed = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return sum(_memory_mb(int(child)) for child in listed.split())


def _disk_mb(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) >> 20


def _lost(directory: Path, kept: list[str]) -> list[str]:
    database = sqlite3.connect(directory / "hookchain.db")
    there = {one for (one,) in database.execute("SELECT id FROM tasks WHERE upstream = 'honest'")}
    database.close()
    return [one for one in kept if one not in there]


def _begin(process: subprocess.Popen[str]) -> None:
    """Let an attacker begin that is ready."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _report(process: subprocess.Popen[str], within_s: float = PATIENCE_S) -> dict[str, Any]:
    try:
        printed, _ = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    found: dict[str, Any] = json.loads(printed) if process.returncode == 0 else {"failed": process.returncode}
    return found


def run(
    case: Case, directory: Path, seconds: float, senders_patience_s: float = SENDERS_PATIENCE_S
) -> Outcome:
    """One case, in an empty directory."""
    with _running(case, directory, seconds) as (server, url), ExitStack() as started:
        port, before_mb = server.url.rsplit(":")[-1], _disk_mb(directory)
        seen = _hook(server, "seen")
        attackers = {
            name: started.enter_context(
                _process("attackers.py", name, port, seen, seconds, ABUSE_TOKEN=TOKEN, ABUSE_UPSTREAM=url)
            )
            for name in case.attacks
        }
        for process in attackers.values():
            assert process.stdout is not None
            process.stdout.readline()
        for process in attackers.values():
            _begin(process)
        time.sleep(UNDER_WAY_S)
        hook, honest_s = _hook(server, "honest"), seconds - UNDER_WAY_S
        honest = started.enter_context(
            _process("honest.py", port, hook, honest_s, senders_patience_s, "honest")
        )
        told = _report(honest)
        attacked = {name: _report(process) for name, process in attackers.items()}
        return Outcome(
            sent=told["sent"],
            refused=told["refused"],
            lost=_lost(directory, told["kept"]),
            p99_ms=told["p99_ms"],
            memory_mb=_memory_mb(server.pid),
            helpers_mb=_helpers_mb(server.pid),
            disk_mb=_disk_mb(directory) - before_mb,
            is_running=server.is_running,
            attacked=attacked,
        )
