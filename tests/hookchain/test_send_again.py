"""`hookchain replay EVENT --only rule:NAME/forward` sends a message again, with the id that it had."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import command

TOML = """
[[rules]]
name = "shop"
on = "task.succeeded"
once_per = "chain"
forward = {{ url = "{hook}", json = {{ prompt = "{{{{ task.prompt }}}}" }} }}

[[rules]]
name = "other"
on = "task.succeeded"
forward = "{hook}/other"

[[rules]]
name = "first"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"

[upstreams.main]
url = "{url}"
"""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """Another system: its address, and path, id and body of each message."""
    got: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            got.append((self.path, self.headers["webhook-id"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_message_is_sent_again(
    hook: Any, start_sandbox: Any, start_server: Any, eventually: Any, tmp_path: Path
) -> None:
    """Although its rule fires once per chain. The other message is not sent, and nothing is pressed; a replay of the replay has the same id,
    a forced one a new id, and what `replay` sends to all keeps to the limit."""
    address, got = hook
    sandbox = start_sandbox("--speed", "40", "--seed", "5")
    server = start_server(toml=TOML.format(url=sandbox.url, hook=address))
    made = server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: len(got) == 3)
    (grid,) = server.get(f"/api/submissions/{made['id']}")["task_ids"]
    (event,) = server.get(f"/api/events?task_id={grid}&signal=task.succeeded")["events"]

    def run(*arguments: str) -> str:
        ran = command.run(
            tmp_path, "replay", *arguments, PORT=server.url.rsplit(":", 1)[-1], HOST="127.0.0.1"
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return str(ran.stdout.strip().rpartition(" ")[2])

    def ids(path: str) -> list[str]:
        return [message_id for where, message_id, _ in got if where == path]

    again = run(str(event["id"]), "--only", "rule:shop/forward")
    eventually(lambda: len(got) == 4)
    run(again, "--only", "rule:shop/forward")
    eventually(lambda: len(got) == 5)
    assert (len(ids("/")), len(set(ids("/")))) == (3, 1)
    assert got[-1][2] == {"prompt": "a cat"}
    run(str(event["id"]), "--only", "rule:shop/forward", "--force")
    eventually(lambda: len(got) == 6)
    assert len(set(ids("/"))) == 2
    run(str(event["id"]))
    eventually(lambda: len(ids("/other")) == 3)
    assert (len(ids("/")), len(set(ids("/other")))) == (4, 2)
    eventually(lambda: not server.get("/api/deliveries?state=waiting")["deliveries"])
    assert sandbox.ledger()["billed"]["action"] == 1
