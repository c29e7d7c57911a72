"""Private links at the command line: one clear message, and nothing is queued or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hookchain.test_cli import hookchain

pytestmark = pytest.mark.process


@pytest.mark.parametrize("prompt", ["http://localhost:3000/a.png a cat", " "])
def test_an_imagine_that_is_refused_without_a_server(tmp_path: Path, prompt: str) -> None:
    """As with one: the field and what is wrong, no traceback; nothing waits."""
    done = hookchain(tmp_path, "imagine", prompt, HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", PORT="9")
    assert done.returncode == 1
    assert done.stderr.startswith("hookchain: prompt: ")
    assert "Traceback" not in done.stderr


def test_an_image_is_loaded_by_the_server_from_hosts_that_it_knows(
    tmp_path: Path, start_sandbox: Any, start_server: Any, eventually: Any
) -> None:
    """From its upstream's own address as data; from a host that is not named, a refusal by field and address."""
    sandbox = start_sandbox("--dialect", "trueai", "--speed", "100", "--seed", "1")
    sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat"})
    task = eventually(
        lambda: next((one for one in sandbox.http.get("/mj/task/list").json() if one["buttons"]), None)
    )
    server = start_server(HOOKCHAIN_UPSTREAM_URL=sandbox.url, HOOKCHAIN_UPSTREAM_DIALECT="trueai")
    port = server.url.rpartition(":")[2]
    refused = hookchain(tmp_path, "submit", "describe", "image=http://minio:9000/a.png", PORT=port)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "hookchain: image: http://minio:9000/a.png is an address in a private network"
    )
    done = hookchain(tmp_path, "submit", "describe", f"image={task['imageUrl']}", PORT=port)
    assert done.returncode == 0, done.stderr
    (body,) = eventually(lambda: sandbox.accepted("submit/describe"))
    assert body["base64"].startswith("data:image/png;base64,")
