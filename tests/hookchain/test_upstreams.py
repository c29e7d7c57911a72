"""Pictures of a real upstream, by a process that has no worker."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image as Pillow
from starlette.applications import Starlette

from hookchain.settings.load import load_settings
from hookchain.upstreams import open_places
from hooks.images.proxy import Images, image_path
from midjourney.decode import decode_task
from storage.engine import Database
from storage.records import Incoming
from storage.upstreams import standings


async def test_a_picture_whose_address_has_ended_is_asked_for_within_the_upstreams_rate(
    database: Database,
    start_sandbox: Callable[..., Any],
    eventually: Callable[..., Any],
    tmp_path: Any,
) -> None:
    """The callback was kept yesterday. Its thumbnail costs the upstream one question, counted as those of workers are."""
    sandbox = start_sandbox("--speed", "100", "--secret", "k")
    sandbox.http.headers["mj-api-secret"] = "k"
    submitted = sandbox.http.post("/mj/submit/imagine", json={"prompt": "a cat"}).json()

    def finished() -> bytes | None:
        body: bytes = sandbox.http.get(f"/mj/task/{submitted['result']}/fetch").content
        return body if decode_task(body).status == "SUCCESS" else None

    body = re.sub(rb"\?ex=[0-9a-f]+", b"?ex=65a6d53f", eventually(finished))
    task = decode_task(body)
    assert "ex=65a6d53f" in task.image_url
    at_ms = time.time_ns() // 1_000_000
    await database.append(
        Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=at_ms)
    )
    settings = load_settings(
        {
            "HOOKCHAIN_UPSTREAM_URL": f"{sandbox.url}/mj",
            "HOOKCHAIN_UPSTREAM_KEY": "k",
            "HOOKCHAIN_UPSTREAM_RATE": "50",
        },
        tmp_path,
    )
    async with open_places(settings, database) as (places, _):
        images = Images(database, places)
        transport = httpx.ASGITransport(Starlette(routes=images.routes(lambda handler: handler)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            asked = sandbox.ledger()["questions"]["task/{id}/fetch"]
            links = [image_path("main", task.id, task.image_url, width) for width in (192, 384)]
            answers = [await http.get(link) for link in links]
        await images.aclose()
    assert [answer.status_code for answer in answers] == [200, 200]
    with Pillow.open(io.BytesIO(answers[1].content)) as small:
        assert (small.format, small.size[0]) == ("WEBP", 384)
    assert sandbox.ledger()["questions"]["task/{id}/fetch"] == asked + 1
    standing = (await database.read(standings.every))["main"]
    assert standing.rate_paid_until_us > 1000 * at_ms
