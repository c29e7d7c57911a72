"""The panel of a task tells what became of each button and of its window, and what can still be done about it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hooks.conftest import Site, site_of
from tests.hooks.dashboard.parts import IN_PART, U1, called, posted, set_all, submissions_of


def pressed(page: str) -> list[str]:
    """The names of the buttons that are marked."""
    return re.findall(r'<button id="press[^>]* aria-pressed="true"[^>]*>([^<]*)', page)


async def test_a_press_by_hand_is_marked_where_tasks_have_no_buttons(tmp_path: Path) -> None:
    """Whatever words it was asked for in; its label is the button's, as with a rule's."""
    async with site_of(tmp_path, HOOKCHAIN_UPSTREAM_DIALECT="novicezk") as site:
        await called(site, "17", prompt="a cat")
        assert pressed((await posted(site, "/press/main/17", button="U1")).text) == ["U1"]
        for body in (
            {"kind": "change", "task_id": "17", "action": "REROLL"},
            {"kind": "simple_change", "content": "17 V2"},
        ):
            assert (await site.http.post("/api/submissions", json=body)).status_code == 202
        page = await posted(site, "/press/main/17", button="U1")
        assert "not paid for twice" in page.text
        assert pressed(page.text) == ["U1", "🔄", "V2"]
        assert sorted(row.label for row in await submissions_of(site)) == ["U1", "V2", "🔄"]


async def test_a_button_that_was_pressed_again_is_marked_if_any_press_of_it_came_to_something(
    site: Site,
) -> None:
    """The first was rejected, the second is on its way; and the other way round."""
    await called(site, "17", prompt="a cat", buttons=[U1])
    await posted(site, "/press/main/17", button="U1")
    await set_all(site, state="rejected")
    body = {"kind": "press", "task_id": "17", "button": "U1", "again": 1}
    assert (await site.http.post("/api/submissions", json=body)).status_code == 202
    assert pressed((await site.http.get("/panel/main/17", headers=IN_PART)).text) == ["U1"]
    turned = {"waiting": "rejected", "rejected": "waiting"}
    for row in await submissions_of(site):
        await set_all(site, row.id, state=turned[row.state])
    assert pressed((await site.http.get("/panel/main/17", headers=IN_PART)).text) == ["U1"]
