"""Large pictures through the gateway: they reach the account whole, and an order with them is an order like any other. Pictures that
come back are served at an address that nobody can guess."""

from __future__ import annotations

import base64
import io
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import PATIENCE_S
from tests.support.customer import Customer

SETTINGS = """
[upstreams.main]
url = "{url}"
look_after_s = 0.3
quiet_s = 0.7
concurrency = 8

[clients.ann]
key = "ann-key-1"
pictures = "proxy"

[gateway]
keep_pictures = "pictures"
"""


def large_png() -> str:
    """A picture whose text is far longer than what stays in a body."""
    file = io.BytesIO()
    Image.frombytes("RGB", (200, 200), secrets.token_bytes(120_000)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.fixture
def opened(
    start_sandbox: Any, start_server: Any, database_url: str, customer: Any
) -> tuple[Any, Any, Customer]:
    sandbox = start_sandbox("--speed", "50")
    server = start_server(toml=SETTINGS.format(url=sandbox.url), DATABASE_URL=database_url)
    return sandbox, server, customer(server)


def test_a_large_blend_ordered_twice_on_purpose_is_two(opened: Any, eventually: Any) -> None:
    """The client has the answer to the first when it sends the second. What arrives is byte for byte what it sent."""
    sandbox, _, ann = opened
    images = [large_png(), large_png()]
    tickets = {ann.ticket("blend", base64Array=images) for _ in range(2)}
    assert len(tickets) == 2
    eventually(lambda: all(ann.fetch(ticket)["status"] == "SUCCESS" for ticket in tickets))
    assert len(sandbox.accepted("submit/blend")) == 2


def test_large_pictures_are_uploaded(opened: Any) -> None:
    """As the web page sends them: `result` is a list of addresses, one for each picture."""
    *_, ann = opened
    told = ann.http.post(
        "/submit/upload-discord-images", json={"base64Array": [large_png(), large_png()]}
    ).json()
    assert (told["code"], len(told["result"])) == (1, 2), told
    assert all(link.startswith("http") for link in told["result"])


def test_a_picture_has_an_address_of_ours(opened: Any, eventually: Any, tmp_path: Path) -> None:
    """Pages of other origins may read it without a key, and a changed address leads nowhere. It is kept, so the account may go."""
    sandbox, server, ann = opened
    ticket = ann.imagine("a picture of ours")
    eventually(lambda: ann.has_ended(ticket))
    address = ann.fetch(ticket)["imageUrl"]
    assert address.startswith(str(ann.http.base_url).removesuffix("/mj/"))

    def get(url: str) -> httpx.Response:
        return httpx.get(url, timeout=PATIENCE_S, verify=False, trust_env=False)

    shown = get(address)
    assert (shown.status_code, shown.headers["access-control-allow-origin"]) == (200, "*")
    assert Image.open(io.BytesIO(shown.content)).size[0] > 0
    assert get(address.replace("-", "-0")).status_code == 404
    eventually(lambda: [file for file in (tmp_path / "pictures").rglob("*") if file.is_file()])
    sandbox.stop()
    assert get(address).content == shown.content
    small = get(f"{address}?width=384")
    assert (small.status_code, small.headers["access-control-allow-origin"]) == (200, "*")
    assert Image.open(io.BytesIO(small.content)).size[0] == 384
    assert get(f"{address}?width=385").json()["description"].startswith("width must be")
    [task] = server.http.get("/api/tasks").json()["tasks"]
    assert server.http.get(f"/images/main/{task['id']}?width=192").status_code == 200
