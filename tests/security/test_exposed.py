"""`hookchain doctor --exposed`: a real server, behind a proxy that is right, and behind one that lets everybody in."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import HookchainServer, free_port
from tests.support import command

pytestmark = pytest.mark.process

TOKEN = "the owner's token, long enough to guess for ever"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[HookchainServer]:
    """One with a token."""
    cwd = tmp_path_factory.mktemp("exposed")
    shutil.copy(new_file, cwd / "hookchain.db")
    environment = {"HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9", "HOOKCHAIN_ADMIN_TOKEN": TOKEN}
    started = HookchainServer(cwd, environment)
    yield started
    started.http.close()
    started.end()


@contextmanager
def proxy(behind: str, files: dict[str, bytes] | None = None, **added: str) -> Iterator[str]:
    """A proxy that speaks HTTP/1.1 to the server, forwards no header about itself, and adds what it is told."""

    class Relay(BaseHTTPRequestHandler):
        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {"content-type": self.headers.get("content-type", "application/json")}
            if self.path in (files or {}):
                status, headers, content = 200, httpx.Headers(), (files or {})[self.path]
            else:
                with httpx.stream(
                    self.command, behind + self.path, content=body, headers=kept | added
                ) as answer:
                    endless = "event-stream" in answer.headers.get("content-type", "")
                    status, headers = answer.status_code, answer.headers
                    content = b"" if endless else answer.read()
            self.send_response(status)
            if "location" in headers:
                self.send_header("location", headers["location"])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _relay

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def ask(tmp_path: Path, url: str) -> tuple[int, dict[str, Any], str]:
    done = command.run(tmp_path, "doctor", "--exposed", "--json", HOOKCHAIN_PUBLIC_URL=url)
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)["surfaces"]}, done.stderr


def test_a_server_with_a_token_is_closed(server: HookchainServer, tmp_path: Path) -> None:
    """Each surface is named with what answered, and the code is 0."""
    with proxy(server.url) as url:
        code, seen, _ = ask(tmp_path, url)
        told = command.run(tmp_path, "doctor", "--exposed", "--url", url)
    assert {one["verdict"] for one in seen.values()} == {"as it should be"}
    assert (code, told.returncode) == (0, 0)
    assert all(name in told.stdout for name in seen)


def test_a_proxy_that_makes_everybody_the_owner_is_found(server: HookchainServer, tmp_path: Path) -> None:
    """What can be seen and done is named, with the cure; and to ask has changed nothing."""
    before = server.http.get("/api/submissions", headers={"authorization": f"Bearer {TOKEN}"}).json()
    with proxy(server.url, authorization=f"Bearer {TOKEN}") as url:
        code, seen, said = ask(tmp_path, url)
    opened = {name for name, one in seen.items() if one["verdict"] == "open to strangers"}
    assert {
        "tasks and prompts",
        "submit and pay",
        "retry dead letters",
        "drop quarantine",
        "metrics",
    } <= opened
    assert code == 1
    assert "submit and pay" in said
    assert "HOOKCHAIN_ADMIN_TOKEN" in seen["submit and pay"]["cure"]
    assert server.http.get("/api/submissions", headers={"authorization": f"Bearer {TOKEN}"}).json() == before


def test_a_proxy_that_serves_the_folder_is_found(server: HookchainServer, tmp_path: Path) -> None:
    """The database holds the secret and all prompts."""
    with proxy(server.url, {"/hookchain.db": b"SQLite format 3\0", "/.env": b"KEY=1"}) as url:
        code, seen, _ = ask(tmp_path, url)
    assert code == 1
    assert {name for name, one in seen.items() if one["cure"]} == {"database file", "environment file"}


def test_an_address_where_nobody_answers_is_not_closed(tmp_path: Path) -> None:
    """It is not known then; and without an address the call is wrong."""
    code, seen, _ = ask(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert {one["verdict"] for one in seen.values()} == {"not reached"}
    done = command.run(tmp_path, "doctor", "--exposed")
    assert (done.returncode, "HOOKCHAIN_PUBLIC_URL" in done.stderr) == (2, True)
