"""Node-RED with its SQLite node: each callback is inserted and answered, and a finished grid is followed up."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import Contender, Running
from benchmarks.payloads import callback
from benchmarks.peers import installed
from benchmarks.processes import free_port, started, wait_for

NAME = "Node-RED, SQLite (WAL, FULL)"
START_S = 30.0
"""Its flows start after it listens."""

_TABLE = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
    "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, task_id TEXT, status TEXT, payload TEXT);"
)
_SPLIT = """
msg.params = { $task: msg.payload.id, $status: msg.payload.status, $payload: JSON.stringify(msg.payload) };
msg.task = msg.payload;
return msg;
"""
_PRESS = """
const task = msg.task;
if (task.status !== "SUCCESS" || task.action !== "IMAGINE") return null;
return { payload: { taskId: task.id, customId: task.buttons[0].customId }, headers: { "content-type": "application/json" } };
"""
_ANSWER = "return { req: msg.req, res: msg.res, payload: { kept: true } };"


def contender() -> Contender:
    """Node-RED from npm, on the machine's Node."""
    try:
        packages = installed.node_red()
        node = installed.program("node")
    except installed.MissingError as error:
        return Contender(name=NAME, missing=str(error))

    @contextlib.contextmanager
    def start(directory: Path, upstream_port: int, follows: bool) -> Iterator[Running]:
        port = free_port()
        (directory / "flows.json").write_text(json.dumps(_flows(directory, upstream_port, follows)))
        (directory / "settings.js").write_text(
            'module.exports = { httpAdminRoot: false, uiHost: "127.0.0.1", logging: { console: { level: "error" } } };'
        )
        # Its nodes are looked for beside the user's files.
        (directory / "node_modules").symlink_to(packages / "node_modules")
        (directory / "package.json").write_text((packages / "package.json").read_text())
        red = packages / "node_modules" / "node-red" / "red.js"
        command = [node, str(red), "--userDir", str(directory), "--port", str(port), "flows.json"]
        with started(command, directory, {"HOME": str(directory)}) as process:
            wait_for(port, process)
            _until_it_answers(port)
            yield Running(port=port, process_ids=(process.pid,), path="/hook")

    return Contender(name=NAME, start=start, kept_in=("events.db", "events"))


def _flows(directory: Path, upstream_port: int, follows: bool) -> list[dict[str, object]]:
    """POST /hook → SQLite → answer, and → press if it follows up."""
    after_insert = ["answer", *(["press"] if follows else [])]
    insert = "INSERT INTO events (task_id, status, payload) VALUES ($task, $status, $payload)"
    upstream = f"http://127.0.0.1:{upstream_port}/mj/submit/action"
    return [
        {"id": "flow", "type": "tab", "label": "benchmark"},
        {"id": "file", "type": "sqlitedb", "db": str(directory / "events.db"), "mode": "RWC"},
        _node(
            "once",
            "inject",
            ["table"],
            once=True,
            onceDelay=0.1,
            topic=_TABLE,
            props=[{"p": "topic", "vt": "str"}],
        ),
        _node("table", "sqlite", [], mydb="file", sqlquery="batch", sql=_TABLE),
        _node("hook", "http in", ["split"], url="/hook", method="post"),
        _node("split", "function", ["insert"], func=_SPLIT, outputs=1),
        _node("insert", "sqlite", after_insert, mydb="file", sqlquery="prepared", sql=insert),
        _node("answer", "function", ["respond"], func=_ANSWER, outputs=1),
        _node("respond", "http response", [], statusCode="200"),
        _node("press", "function", ["send"], func=_PRESS, outputs=1),
        _node("send", "http request", [], method="POST", ret="txt", url=upstream, persist=True),
    ]


def _node(name: str, kind: str, then: list[str], **options: object) -> dict[str, object]:
    return {"id": name, "type": kind, "z": "flow", "wires": [then] if then else [], **options}


def _until_it_answers(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request(
                "POST", "/hook", callback("1", "SUBMITTED", 0), {"content-type": "application/json"}
            )
            if connection.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("Node-RED does not answer")
        time.sleep(0.2)
