"""What people do about what waits for them, and what they are asked before."""

from __future__ import annotations

import re
from functools import partial
from typing import get_args

import pytest

from storage import schema
from storage.clock import now_ms
from storage.events import refusals
from storage.records.refusals import Refusal, Why
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import delivery
from tests.support.staged import stage, wanted


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("/operations/letters/delivery-60", "Discard this for good?"),
        ("/operations/quarantine/1", "Delete this?"),
    ],
)
async def test_that_one_is_dropped_is_asked_about_as_that_all_are(
    site: Site, path: str, question: str
) -> None:
    """By its button where scripts run, by a page where none do."""
    await site.http.post(site.hook, content=b"no JSON")
    dead = delivery(60, error="no") | {"id": 60, "state": "dead"}
    await site.database.write("test", lambda c: c.execute(schema.deliveries.insert(), dead))
    page = (await site.http.get("/operations")).text
    assert page.count(f'value="drop" class="danger" hx-confirm="{question}"') == 1
    asked = await site.http.post(path, data={"do": "drop"})
    assert question in asked.text
    assert f'action="{path}"' in (await site.http.get("/operations")).text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert (await site.http.post(path, data=fields)).status_code == 303
    assert f'action="{path}"' not in (await site.http.get("/operations")).text


@pytest.mark.parametrize("why", get_args(Why))
async def test_the_setup_page_says_what_to_do_about_each_refusal(site: Site, why: Why) -> None:
    """In a sentence of its own: a name such as "over_quota" tells nobody what to change."""
    counted = [Refusal(upstream="main", why=why, count=3, last_at_ms=now_ms(), detail="an example")]
    await site.database.write("test", lambda c: refusals.add(c, counted))
    page = (await site.http.get("/setup")).text
    (told,) = re.findall(r"unseen\">[^<]*</span>\s*([^<]*) \((?:[^)<]*, )?3, ", page)
    assert len(told) > 40
    assert why not in told


async def test_what_waits_is_dropped_or_sent_now_on_the_page(site: Site) -> None:
    """Two that are scheduled: the page says for when; a drop is asked about. What does not wait any more is a conflict."""
    first, second = [
        (
            await site.database.write(
                "test", partial(stage, staged=wanted(name, delay_ms=3_600_000), now_ms=now_ms())
            )
        ).submission_id
        for name in ("first", "second")
    ]
    page = (await site.http.get("/operations")).text
    assert page.count("scheduled:") == 2
    path = f"/operations/waiting/{first}"
    asked = await site.http.post(path, data={"do": "drop"})
    assert "Drop this submission? It will not be sent." in asked.text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert (await site.http.post(path, data=fields)).status_code == 303
    assert path not in (await site.http.get("/operations")).text
    assert (await site.http.post(path, data=fields)).status_code == 409
    sent = await site.http.post(f"/operations/waiting/{second}", data={"do": "send-now"})
    assert sent.status_code == 303
    page = (await site.http.get("/operations")).text
    assert "scheduled:" not in page
    assert "waits for its turn" in page
    assert (await site.http.post(f"/operations/waiting/{second}", data={"do": "dance"})).status_code == 422
