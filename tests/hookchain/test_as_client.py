"""`hookchain doctor --as-client` before a gateway, and before a server without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hookchain.as_client.clients import CLIENTS
from tests.support import command

TOML = """
[upstreams.main]
url = "{url}"
look_after_s = 0.3
quiet_s = 0.7

[clients.shop]
key = "a-key-of-a-client"
"""


@pytest.fixture
def gateway(start_sandbox: Any, start_server: Any) -> Any:
    """A sandbox, and a gateway in front of it."""
    sandbox = start_sandbox("--speed", "20")
    return sandbox, start_server(toml=TOML.format(url=sandbox.url))


def test_nothing_would_break_at_a_gateway_and_nothing_is_ordered(gateway: Any, tmp_path: Path) -> None:
    """One line for each client."""
    sandbox, server = gateway
    found = command.run(tmp_path, "doctor", "--as-client", server.url, "--key", "a-key-of-a-client")
    assert (found.returncode, found.stderr) == (0, "")
    assert [line.split("  ")[1] for line in found.stdout.splitlines()] == [client.name for client in CLIENTS]
    assert all("nothing would break" in line for line in found.stdout.splitlines())
    assert sandbox.ledger()["submissions"] == []


def test_a_picture_for_each_client_is_announced_with_its_price(gateway: Any, tmp_path: Path) -> None:
    """The first line says what it costs; each client orders one, by its own way of submitting."""
    sandbox, server = gateway
    found = command.run(
        tmp_path, "doctor", "--as-client", server.url, "--key", "a-key-of-a-client", "--submit"
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith(f"this submits {len(CLIENTS)} imagines at {server.url}, ")
    assert sandbox.ledger()["billed"]["imagine"] == len(CLIENTS) == len(sandbox.ledger()["submissions"])


def test_a_wrong_key_breaks_every_client(gateway: Any, tmp_path: Path) -> None:
    """Also those that send it in the path."""
    found = command.run(tmp_path, "doctor", "--as-client", gateway[1].url, "--key", "another-key", "--json")
    assert found.returncode == 1
    told = {one["client"]: one["breaks"] for one in json.loads(found.stdout)["clients"]}
    by_path = told["ComfyUI-MidjourneyNode-leoleexh"]
    assert [one["problem"] for one in by_path] == ["HTTP 401: its key is not accepted there"]
    assert told["chatgpt-web-midjourney-proxy"]


def test_what_would_break_at_an_old_server_is_a_line_each(start_sandbox: Any, tmp_path: Path) -> None:
    """The exit code says so too."""
    found = command.run(tmp_path, "doctor", "--as-client", start_sandbox("--dialect", "novicezk").url)
    assert found.returncode == 1
    assert "would break at" in found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("! lobe-midjourney-webui")]
    assert [line.split("  ")[-1].strip() for line in lines] == [
        "GET /mj/task/1000000000000001/fetch: an empty body, which it cannot decode"
    ]


def test_an_address_where_nobody_answers(tmp_path: Path) -> None:
    found = command.run(tmp_path, "doctor", "--as-client", "http://127.0.0.1:9")
    assert found.returncode == 1
    assert "GET /mj/task/queue: no answer: " in found.stdout
