"""`hookchain doctor` against the sandbox in each dialect, and against what is none."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import command

DIALECTS = ["mj-plus", "novicezk", "mj-proxy-2", "trueai", "new-api", "147ai", "v1-relay", "wenwen"]


def doctor(cwd: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command.run(cwd, "doctor", *options, **({"HOOKCHAIN_SECRET": "s"} | environment))


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param([], id="open", marks=pytest.mark.soak),
        pytest.param(["--secret", "sk-1"], id="with a key"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_names_the_dialect(start_sandbox: Any, tmp_path: Path, dialect: str, secret: list[str]) -> None:
    """Whatever is configured; and nothing was submitted to find out."""
    sandbox = start_sandbox("--dialect", dialect, *secret)
    other = "trueai" if dialect == "mj-plus" else "mj-plus"
    told = {"HOOKCHAIN_UPSTREAM_URL": sandbox.url, "HOOKCHAIN_UPSTREAM_KEY": "sk-1"}
    (wrong,) = json.loads(doctor(tmp_path, "--json", HOOKCHAIN_UPSTREAM_DIALECT=other, **told).stdout)[
        "upstreams"
    ]
    assert (wrong["dialect"], wrong["healthy"]) == (dialect, False)
    assert f'set dialect = "{dialect}"' in wrong["advice"][0]
    right = doctor(tmp_path, HOOKCHAIN_UPSTREAM_DIALECT=dialect, **told)
    assert (right.returncode, right.stderr) == (0, "")
    assert f"  dialect     {dialect} (" in right.stdout
    assert "unknown: no callback has arrived yet" in right.stdout
    assert sandbox.ledger()["submissions"] == []


def test_a_refused_key_is_told(start_sandbox: Any, tmp_path: Path) -> None:
    """And is printed nowhere."""
    sandbox = start_sandbox("--secret", "right")
    found = doctor(tmp_path, HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_UPSTREAM_KEY="sk-wrong-key")
    assert found.returncode == 1
    assert "refused" in found.stdout
    assert "sk-wrong-key" not in found.stdout + found.stderr


def test_nobody_there(tmp_path: Path) -> None:
    """One line that says so, exit code 1."""
    found = doctor(tmp_path, "--url", "http://127.0.0.1:9")
    assert found.returncode == 1
    assert "reachable   no: http://127.0.0.1:9" in found.stdout
    assert "Traceback" not in found.stderr


def test_something_else_is_there(start_server: Any, tmp_path: Path) -> None:
    """A web server of another kind: reachable, no dialect; the addresses that were tried are named."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9")
    found = doctor(tmp_path, "--url", server.url)
    assert found.returncode == 1
    assert "check the URL" in found.stdout


def test_rules_with_a_mistake_are_told(start_sandbox: Any, tmp_path: Path) -> None:
    """The upstream is looked at all the same."""
    sandbox = start_sandbox()
    (tmp_path / "hookchain.toml").write_text('[[rules]]\nname="x"\non="task.succeeded"\npres="U*"')
    found = doctor(tmp_path, HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    assert found.returncode == 0
    assert "reachable   yes" in found.stdout
    assert '! the rules cannot be used: hookchain.toml:4, rule "x"' in found.stdout
    assert 'Did you mean "press"?' in found.stdout


def test_a_token_that_would_stop_the_start_is_told(tmp_path: Path) -> None:
    """In the words of the start."""
    weak = {"HOOKCHAIN_ADMIN_TOKEN": "correct horse", "HOST": "0.0.0.0"}
    found = doctor(tmp_path, "--url", "http://127.0.0.1:9", **weak)
    assert "! HOOKCHAIN_ADMIN_TOKEN is easy to guess, and others can reach this server" in found.stdout


def test_no_upstream_at_all(tmp_path: Path) -> None:
    """A mistake of the caller's."""
    found = doctor(tmp_path)
    assert found.returncode == 2
    assert "HOOKCHAIN_UPSTREAM_URL" in found.stderr


def test_a_callback_proves_that_the_hook_is_reached(
    start_sandbox: Any, start_server: Any, tmp_path: Path, eventually: Any
) -> None:
    """Only then is it stated."""
    sandbox = start_sandbox("--speed", "50")
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: server.get("/api/events?source=callback")["events"])
    found = doctor(tmp_path, HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_SECRET="a test's secret")
    assert "yes: the last callback arrived at 20" in found.stdout
    assert f"notifyHook  http://127.0.0.1:8000/notify/{server.hook.rsplit('/')[-1]}" in found.stdout


def test_an_address_that_only_this_machine_knows_is_advised_against(tmp_path: Path) -> None:
    """An upstream elsewhere cannot call 127.0.0.1. (The address is refused at once: nothing leaves the machine.)"""
    found = doctor(tmp_path, "--json", HOOKCHAIN_UPSTREAM_URL="http://0.0.0.0:9")
    (one,) = json.loads(found.stdout)["upstreams"]
    assert any("HOOKCHAIN_PUBLIC_URL" in advice for advice in one["advice"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"code":401,"msg":"login"}'),
        (200, b'{"code":4}'),
        (200, b""),
        (204, b""),
        (200, b'{"status":"ok"}'),
    ],
)
def test_what_answers_everything_alike_is_no_proxy(tmp_path: Path, status: int, body: bytes) -> None:
    """A web application, a parked domain, a load balancer: no dialect is named."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if status != 204 else b"")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = doctor(tmp_path, "--json", "--url", f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()
    (one,) = json.loads(found.stdout)["upstreams"]
    assert (one["dialect"], one["healthy"]) == ("", False)
