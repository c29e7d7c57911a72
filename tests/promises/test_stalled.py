"""Everything waits for places that nobody gives back. Whoever is on call sees it and why; no platform restarts anything for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from storage.engine import write_engine
from storage.schema import SCHEMA
from tests.support import command

WHY = "2 uncertain hold all 2 places"
UPSTREAM = """
[upstreams.main]
url = "{url}"
dialect = "wenwen"
jobs = 2
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """An upstream that takes each submit and hangs up without a word, and has no list. What it is asked about is done. Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if "/submit/" in self.path:
                self.close_connection = True
                return
            self.send_response(404)  # it lists nothing: each task is asked about alone
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            task = {
                "id": self.path.split("/")[-2],
                "action": "IMAGINE",
                "status": "SUCCESS",
                "progress": "100%",
            }
            raw = json.dumps(task).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def let_time_pass(url: str, seconds: int) -> None:
    """As if what is there had been there for so much longer."""
    engine = write_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
            connection.exec_driver_sql(f"UPDATE upstreams SET left_at_ms = left_at_ms - {seconds * 1000}")
            connection.exec_driver_sql(f"UPDATE submissions SET run_at_ms = run_at_ms - {seconds * 1000}")
    finally:
        engine.dispose()


def test_whoever_looks_sees_why_nothing_leaves(
    start_server: Any, eventually: Any, silent: str, database_url: str, tmp_path: Path
) -> None:
    """Two answers are lost, and hold both places. /readyz turns red with the reason, /healthz stays green; the command and the log
    say the same; and when a person has settled them, all is well again."""
    server = start_server(toml=UPSTREAM.format(url=silent), DATABASE_URL=database_url)
    for number in range(2):
        server.submit(kind="imagine", prompt=f"lost {number}")
    eventually(lambda: len(server.get("/api/submissions?state=uncertain")["submissions"]) == 2)
    server.submit(kind="imagine", prompt="waits")
    assert server.http.get("/readyz").status_code == 200
    let_time_pass(database_url, 60)
    eventually(lambda: server.http.get("/readyz").status_code == 503)  # an answer is remembered for a second
    answer = server.http.get("/readyz")
    assert answer.json()["checks"]["submitting"] is False
    assert answer.json()["stalled"]["main"].endswith(f"although 1 is due: {WHY}")
    assert server.http.get("/healthz").status_code == 200
    [upstream] = server.get("/api/upstreams")["upstreams"]
    assert upstream["stalled"]["why"] == WHY
    eventually(lambda: WHY in server.output)
    shown = command.run(tmp_path, "upstreams", PORT=server.url.rsplit(":", 1)[-1])
    assert "stalled: nothing has left for" in shown.stdout, shown
    assert WHY in shown.stdout
    for one in server.get("/api/submissions?state=uncertain")["submissions"]:
        settled = server.http.post(
            f"/api/uncertain/{one['id']}/settle", json={"accepted": True, "task_id": f"t-{one['id']}"}
        )
        assert settled.status_code == 202, settled.text
    eventually(lambda: server.http.get("/readyz").status_code == 200)
    eventually(lambda: "submissions leave again" in server.output)
