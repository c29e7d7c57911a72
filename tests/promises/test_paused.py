"""An account that is blocked, end to end: one refusal, and nothing more is sent until a person has acted; everywhere the same is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import command

WORDS = "账号已被临时封锁，请勿使用违规词作图"
CURE = "hookchain resume main"


class Upstream:
    """One whose account is blocked, until a test says otherwise: its address, and the prompts it was sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_blocked = True
        self.prompts: list[str] = []

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.prompts.append(body["prompt"])
        if self.is_blocked:
            return {"code": 4, "description": WORDS, "result": None}
        return {"code": 1, "description": "ok", "result": f"task-{len(self.prompts)}"}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """On a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(found.answer(body) if "/submit/" in self.path else [])

        def do_GET(self) -> None:
            self._send([] if self.path.endswith("/task/list") else None)

        def _send(self, content: Any) -> None:
            raw = b"" if content is None else json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found = Upstream(f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_blocked_account_is_asked_once_and_a_person_resumes_it(
    start_server: Any, upstream: Upstream, eventually: Any, tmp_path: Path
) -> None:
    """Ten prompts, one request; the log, the command line, the doctor, the API and the pages say why and what to do."""
    toml = f'[upstreams.main]\nurl = "{upstream.url}"\ndialect = "trueai"\nconcurrency = 1\n'
    server = start_server(toml=toml)
    for number in range(10):
        server.submit(kind="imagine", prompt=f"cat {number}")

    def states() -> list[str]:
        return sorted(one["state"] for one in server.get("/api/submissions")["submissions"])

    eventually(lambda: states() == ["rejected", *["waiting"] * 9])
    assert len(upstream.prompts) == 1
    (one,) = server.get("/api/upstreams")["upstreams"]
    assert one["paused"]
    assert one["paused_at"]
    assert one["pause_reason"] == f"account: {WORDS}"
    (refused,) = server.get("/api/submissions?state=rejected")["submissions"]
    assert refused["failure_kind"] == "account"
    assert server.output.count("upstream paused") == 1

    told = {"PORT": str(server.http.base_url.port), "HOOKCHAIN_CONFIG": str(tmp_path / "hookchain.toml")}
    shown = command.run(tmp_path, "upstreams", **told).stdout
    checked = command.run(tmp_path, "doctor", **told).stdout
    for text in (shown, checked, server.http.get("/").text, server.http.get("/operations").text):
        assert WORDS in text
        assert CURE in text

    upstream.is_blocked = False
    assert command.run(tmp_path, "resume", "main", **told).returncode == 0
    eventually(lambda: states() == [*["accepted"] * 9, "rejected"])
    (one,) = server.get("/api/upstreams")["upstreams"]
    assert (one["paused"], one["paused_at"], one["pause_reason"]) == (False, None, None)
