"""Every built-in, as its example's rules and as its plugin, end to end: a server, a sandbox, and its ledger."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midjourney.buttons import Button
from midjourney.image_data import image_of_text
from tests.conftest import Process, client

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
UPSTREAM = '\n[upstreams.main]\nurl = "{url}"\nlook_after_s = 0.5\nquiet_s = 0.7\nsettle_after_s = 0.5\n'
SECRET = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What must have been made in the end: tasks by action, presses by kind, prompts of modals, files, messages, pictures attached. An example is tried with
    the command that it names, and the built-in sandbox as it starts, unless it needs `faults`."""

    tasks: dict[str, int]
    presses: dict[str, int] = {}
    modals: tuple[str, ...] = ()
    faults: str = ""
    status: str = "SUCCESS"
    files: tuple[str, ...] = ()
    messages: int = 0
    attached: int = 0


CASES = {
    "upscale-all": Case(tasks={"IMAGINE": 1, "UPSCALE": 4}, presses={"upscale": 4}),
    "pick": Case(tasks={"IMAGINE": 1, "UPSCALE": 2}, presses={"upscale": 2}),
    "answer-modal": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 1, "ZOOM": 1},
        presses={"upscale": 1, "custom_zoom": 1},
        modals=("a cat --zoom 1.8",),
    ),
    "vary-region": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 1, "VARIATION": 1},
        presses={"upscale": 1, "vary_region": 1},
        modals=("a golden crown",),
    ),
    "vary-then-upscale": Case(
        tasks={"IMAGINE": 1, "VARIATION": 1, "UPSCALE": 4}, presses={"variation": 1, "upscale": 4}
    ),
    "zoom-out": Case(tasks={"IMAGINE": 1, "UPSCALE": 3, "ZOOM": 2}, presses={"upscale": 3, "zoom_out_2x": 2}),
    "pan": Case(tasks={"IMAGINE": 1, "UPSCALE": 1, "PAN": 1}, presses={"upscale": 1, "pan_right": 1}),
    "reroll-on-failure": Case(tasks={"IMAGINE": 3}, faults="task-timeout=1", status="FAILURE"),
    "describe-then-imagine": Case(tasks={"DESCRIBE": 1, "IMAGINE": 1}),
    "animate": Case(tasks={"IMAGINE": 1, "UPSCALE": 1, "VIDEO": 1}, presses={"upscale": 1, "animate_low": 1}),
    "split-grid": Case(tasks={"IMAGINE": 1}, files=("-1.png", "-2.png", "-3.png", "-4.png")),
    "archive": Case(tasks={"IMAGINE": 1}, files=(".png", ".json")),
    "archive-by-date": Case(tasks={"IMAGINE": 1}, files=("/a-cat.*.png", "/a-cat.*.json")),
    "forward": Case(tasks={"IMAGINE": 1}, messages=1),
    "forward-own-body": Case(tasks={"IMAGINE": 1}, messages=1),
    "notify": Case(tasks={"IMAGINE": 1}, messages=1),
    "notify-with-pictures": Case(
        tasks={"IMAGINE": 1, "UPSCALE": 4}, presses={"upscale": 4}, messages=1, attached=4
    ),
    "four-pictures": Case(tasks={"IMAGINE": 1, "UPSCALE": 4}, presses={"upscale": 4}, messages=1),
}
ONLY_RULES = {"vary-region", "archive-by-date", "forward-own-body", "notify-with-pictures"}
SETTINGS = {"PICK": "U1,U3"}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any]]]:
    """Another system: its address, and what it was told."""
    told: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


def as_rules(name: str) -> tuple[str, dict[str, str]]:
    return (EXAMPLES / f"{name}.toml").read_text(), {}


def as_plugin(name: str) -> tuple[str, dict[str, str]]:
    return "", {"HOOKCHAIN_PLUGINS": f"hookchain.plugins.{name.replace('-', '_')}"} | SETTINGS


def needs_upscale_first(name: str, environment: dict[str, str]) -> str:
    """The plugin that answers windows opens none."""
    rules = (EXAMPLES / "answer-modal.toml").read_text().split("[[rules]]")
    return "[[rules]]".join(rules[:3]) if name == "answer-modal" and environment else ""


WAYS: dict[str, Callable[[str], tuple[str, dict[str, str]]]] = {"rules": as_rules, "plugin": as_plugin}
BOTH_WAYS = {"upscale-all", "answer-modal", "archive"}
"""Tried as plugins in every run too; the others, which are as short, in the long tests."""

RUNS = [
    pytest.param(
        way,
        name,
        id=f"{name} as {way}",
        marks=[pytest.mark.soak] if way == "plugin" and name not in BOTH_WAYS else [],
    )
    for name in CASES
    for way in WAYS
    if (way, name) not in {("plugin", one) for one in ONLY_RULES}
]


def command_of(name: str) -> list[str]:
    """The command by which the page of an example starts a chain, without `hookchain`."""
    tried = re.findall(r"^# Try it: hookchain (.+)$", (EXAMPLES / f"{name}.toml").read_text(), re.MULTILINE)
    assert len(tried) == 1, f"examples/{name}.toml names one command to try"
    return shlex.split(tried[0])


@pytest.mark.parametrize(("way", "name"), RUNS)
def test_a_built_in_does_what_it_says(
    start_sandbox: Any, start_server: Any, eventually: Any, listener: Any, tmp_path: Path, way: str, name: str
) -> None:
    """Nothing more, nothing less; and it is at rest afterwards."""
    case = CASES[name]
    address, told = listener
    toml, environment = WAYS[way](name)
    toml += needs_upscale_first(name, environment)
    environment |= {
        "FORWARD_URL": address,
        "FORWARD_SECRET": SECRET,
        "NOTIFY_TO": address.replace("http", "json"),
    }
    if case.faults:
        outside = start_sandbox("--speed", "30", "--seed", "7", "--faults", case.faults)
        toml += UPSTREAM.format(url=outside.url)
    serve = ["-m", "hookchain", "serve", "--port", "0", "--sandbox-speed", "30"]
    server = start_server(toml=toml, command=serve, **environment)
    sandbox = client(outside.url if case.faults else server.find(r"built-in sandbox at (http://[^,\s]+)"))
    (tmp_path / "picture.png").write_bytes(image_of_text(PIXEL).data)
    run(command_of(name), tmp_path, environment | {"PORT": server.url.rpartition(":")[2]})

    def made() -> bool:
        tasks = server.get("/api/tasks?limit=100")["tasks"]
        ended = Counter(task["action"] for task in tasks if task["status"] == case.status)
        return ended == case.tasks and len(told) == case.messages and not busy(server)

    eventually(made)
    submits = sandbox.get("/sandbox/ledger").json()["submissions"]
    accepted = [entry for entry in submits if entry["code"] in (1, 21, 22)]
    presses = [entry["body"]["customId"] for entry in accepted if entry["path"].endswith("/action")]
    assert Counter(Button(custom_id=custom_id).kind for custom_id in presses) == case.presses
    modals = [entry["body"]["prompt"] for entry in accepted if entry["path"].endswith("/modal")]
    assert tuple(modals) == case.modals
    assert sum(len(message.get("attachments", [])) for message in told) == case.attached
    for ending in case.files:
        assert [path for path in (tmp_path / "pictures").rglob(f"*{ending}") if path.stat().st_size], ending
    assert server.get("/api/dead-letters")["dead_letters"] == []
    sandbox.close()


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a command of ours beside the server."""
    ran = Process(
        ["-m", "hookchain", *command],
        ready="accepted|waiting",
        cwd=folder,
        environment=environment | {"HOOKCHAIN_SECRET": "a test's secret"},
    )
    assert ran.wait() == 0, ran.output


def busy(server: Any) -> bool:
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


def test_every_built_in_has_an_example_and_a_case() -> None:
    """The queue that stays full for hours is tried in tests/dispatcher/test_rules_run.py."""
    plugins = {path.stem.replace("_", "-") for path in (ROOT / "hookchain/plugins").glob("[a-z]*.py")}
    examples = {path.stem for path in EXAMPLES.glob("*.toml")}
    assert plugins | ONLY_RULES == examples
    assert {*CASES, "retry-when-queue-is-full"} == examples
