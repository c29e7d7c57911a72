"""What people do about what waits for them, and what they are asked before."""

from __future__ import annotations

import re

import pytest

from storage import schema
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import delivery, word


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("/operations/letters/delivery-60", "Give this up for good?"),
        ("/operations/quarantine/1", "Forget this?"),
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
    asked = await site.http.post(path, data=await word(site) | {"do": "drop"})
    assert question in asked.text
    assert f'action="{path}"' in (await site.http.get("/operations")).text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert (await site.http.post(path, data=fields)).status_code == 303
    assert f'action="{path}"' not in (await site.http.get("/operations")).text
