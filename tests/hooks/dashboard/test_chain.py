"""The page of a chain shows the task that was clicked, at whatever upstream that is."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from midjourney.decode import decode_task
from midjourney.requests import Imagine, encode_request
from storage import schema
from storage.engine import Connection
from storage.records import Staged
from storage.submissions import staging
from storage.tasks import chains
from storage.tasks.believe import TaskReport, believe
from tests.hooks.conftest import Site, site_of
from tests.hooks.dashboard.parts import U1, called

TWO = """
[upstreams.main]
url = "http://127.0.0.1:9"

[upstreams.other]
url = "http://127.0.0.1:8"
"""


async def test_the_panel_shows_a_task_at_the_upstream_that_it_was_clicked_at(tmp_path: Path) -> None:
    """A chain over two, with a task of one id at both; without scripts, as a page."""
    (tmp_path / "hookchain.toml").write_text(TWO)
    async with site_of(tmp_path, HOOKCHAIN_UPSTREAM_URL="") as site:
        await called(site, "1", prompt="main's", buttons=[U1])

        def grow(connection: Connection) -> str:
            chain_id, _ = chains.adopt(connection, "main", "1", "", 5)
            staged = Staged(
                idempotency_key="k", chain_id=chain_id, upstream="other", kind="imagine", label="imagine",
                request=encode_request(Imagine(prompt="x")), parent_id="1", depth=1, asked_by="rule:x", lane="",
                priority=0, delay_ms=0,
            )  # fmt: skip
            return staging.stage(connection, staged, refuse=lambda *_: "", now_ms=5).submission_id

        submission_id = await site.database.write("test", grow)
        body = {"id": "1", "status": "SUCCESS", "prompt": "other's", "buttons": [U1], "state": submission_id}
        shown = decode_task(json.dumps(body).encode())
        report = TaskReport(upstream="other", task_id="1", task=shown, asked_at_ms=6)
        await site.database.write("believe", partial(believe, report=report, now_ms=6))
        for upstream in ("main", "other"):
            page = await site.http.get(f"/panel/{upstream}/1", follow_redirects=True)
            assert f'<p class="prompt">{upstream}&#39;s</p>' in page.text
            assert re.findall(r'class="buttons" method="post" action="([^"]*)"', page.text) == [
                f"/press/{upstream}/1"
            ]
        own = await site.http.get(page.url.copy_with(query=b"task=1"))
        assert 'action="/press/main/1"' in own.text, "the chain's own, where none is named"


async def test_a_task_without_a_chain_has_its_panel_without_scripts(site: Site) -> None:
    """Else nobody could press its buttons there."""
    await called(site, "17", prompt="a cat", buttons=[U1])
    assert 'action="/press/main/17"' in (await site.http.get("/panel/main/17")).text


async def test_a_lost_task_is_said_to_be_lost(site: Site) -> None:
    await called(site, "17", prompt="a cat")
    await site.database.write("test", lambda c: c.execute(schema.tasks.update().values(status="LOST")))
    assert '<span class="badge lost">lost</span>' in (await site.http.get("/chains/of/main/17")).text
