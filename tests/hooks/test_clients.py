"""Callbacks from the HTTP clients that senders use, directly and through the proxies that stand in front of us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import CORPUS, PATIENCE_S, HookchainServer, Process, free_port
from tests.support.program import program

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("clients")]

SENDERS = Path(__file__).parent / "clients"

CURL = {
    "plain": [],
    "http1.0": ["--http1.0"],
    "http2": ["--http2"],
    "chunked": ["-H", "transfer-encoding: chunked"],
    "continue": ["-H", "expect: 100-continue"],
    "close": ["-H", "connection: close"],
}
"""Ways to send with curl, by their names."""

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{ports[0]}; location / {{ proxy_pass http://{server}; }} }}
    server {{
        listen 127.0.0.1:{ports[1]};
        location / {{
            proxy_pass http://{server}//;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""
"""HTTP/1.0 as it is by itself; and 1.1 with the lines for WebSockets that many copy, which double the slash as well."""

HAPROXY = """
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
listen one
    bind 127.0.0.1:{ports[0]}
    http-reuse always
    server hookchain {server}
listen two
    bind 127.0.0.1:{ports[1]}
    option httpclose
    option http-buffer-request
    server hookchain {server}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[HookchainServer]:
    """One for all clients."""
    directory = tmp_path_factory.mktemp("server")
    shutil.copy(new_file, directory / "hookchain.db")
    server = HookchainServer(directory, {"HOOKCHAIN_SECRET": "a test's secret"})
    with closing(server.http):
        yield server
    server.end()


def send(client: str, hook: str, task: str) -> dict[str, str]:
    """The status that each way of the client was answered. The task's id is `task` and the way."""
    sample = json.loads((CORPUS / "plus-real-fetch-imagine-success.json").read_text())
    body = json.dumps(sample | {"id": f"{task}-WAY"}, ensure_ascii=False)
    if client == "curl":
        status = ["-sS", "-o", os.devnull, "-w", "%{http_code}"]
        return {
            way: _run(program("curl"), *status, *options, "--data-binary", body.replace("WAY", way), hook)
            for way, options in CURL.items()
        }
    source = {"java": "Sender.java", "node": "sender.mjs", "php": "sender.php"}[client]
    lines = _run(program(client), str(SENDERS / source), hook, body).splitlines()
    return dict(line.split() for line in lines)


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_kept(server: HookchainServer, sent: dict[str, str], task: str) -> None:
    """Each was answered 200, and is there."""
    assert sent
    assert set(sent.values()) == {"200"}, sent
    for way in sent:
        # The sandbox knows no such task, and says so when it is asked.
        assert server.get(f"/api/tasks/sandbox/{task}-{way}")["status"] in ("SUCCESS", "REFUTED")
    assert server.get("/api/quarantine")["quarantine"] == []


@pytest.mark.parametrize("client", ["java", "node", "php", "curl"])
def test_callbacks_of_common_clients_are_kept(server: HookchainServer, client: str) -> None:
    """In each of the ways in which they send a body."""
    assert_kept(server, send(client, server.hook, client), client)


@pytest.mark.parametrize(
    ("proxy", "configuration", "options", "ready"),
    [
        ("nginx", NGINX, ["-c"], "event method"),
        ("haproxy", HAPROXY, ["-W", "-db", "-f"], "Loading success|forked"),
    ],
    ids=["nginx", "haproxy"],
)
def test_callbacks_through_a_proxy_are_kept(
    server: HookchainServer, tmp_path: Path, proxy: str, configuration: str, options: list[str], ready: str
) -> None:
    """As each proxy sends them on: without settings, and with settings that change how it does."""
    ports = [free_port(), free_port()]
    file = tmp_path / "proxy.conf"
    file.write_text(configuration.format(directory=tmp_path, ports=ports, server=urlsplit(server.url).netloc))
    command = [program(proxy), *options, str(file)]
    with ExitStack() as stack:
        stack.callback(Process(command, ready=ready, cwd=tmp_path, environment={}).end)
        for client in ("node", "curl"):
            for number, port in enumerate(ports):
                task = f"{proxy}-{number}-{client}"
                path = urlsplit(server.hook).path
                assert_kept(server, send(client, f"http://127.0.0.1:{port}{path}", task), task)
