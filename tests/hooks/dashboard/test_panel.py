"""The panel of a task tells what became of each button and of its window, and what can still be done about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from midjourney.requests import Modal, decode_request
from storage import schema
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
        assert "you do not pay twice" in page.text
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


@pytest.mark.parametrize("state", ["refused", "dead", "rejected"])
async def test_a_window_whose_answer_came_to_nothing_is_answered_again(site: Site, state: str) -> None:
    """With the new words, as the same submission; why the first came to nothing is told."""
    await called(site, "17", prompt="a cat", status="MODAL", action="ZOOM")
    await posted(site, "/modal/main/17", prompt="one")
    await set_all(site, state=state, reason="because of this")
    panel = (await site.http.get("/panel/main/17", headers=IN_PART)).text
    assert 'action="/modal/main/17"' in panel
    assert "because of this" in panel
    answered = (await posted(site, "/modal/main/17", prompt="two")).text
    assert "Answered." in answered
    assert 'action="/modal/main/17"' not in answered
    (row,) = await submissions_of(site)
    assert (row.state, decode_request(row.request)) == ("waiting", Modal(task_id="17", prompt="two"))
    (chain,) = await site.database.read(lambda c: c.execute(schema.chains.select()).all())
    assert chain.submissions == (2 if state == "refused" else 1), (
        "what the budget had refused was not counted"
    )


async def test_an_answer_that_the_upstream_may_have_is_not_said_to_be_given_again(site: Site) -> None:
    """One of its attempts ended in silence."""
    await called(site, "17", prompt="a cat", status="MODAL", action="ZOOM")
    await posted(site, "/modal/main/17", prompt="one")
    await set_all(site, state="dead")
    (row,) = await submissions_of(site)
    attempt = {
        "submission_id": row.id, "number": 1, "started_at_ms": 1, "finished_at_ms": 2, "http_status": None,
        "outcome": "uncertain", "reason": "", "answer": b"",
    }  # fmt: skip
    await site.database.write("test", lambda c: c.execute(schema.attempts.insert(), attempt))
    answer = await posted(site, "/modal/main/17", prompt="two")
    assert answer.status_code == 409
    assert "the outcome of one of its attempts is unknown" in answer.text


@pytest.mark.parametrize("headers", [IN_PART, {}], ids=["with scripts", "without"])
async def test_a_press_that_was_rejected_is_tried_again_in_the_panel(
    site: Site, headers: dict[str, str]
) -> None:
    """It says why, and sends nobody where nothing is listed."""
    await called(site, "17", prompt="a cat", buttons=[U1])
    await posted(site, "/press/main/17", button="U1")
    await set_all(site, state="rejected", reason="because of this")
    page = (await posted(site, "/press/main/17", button="U1")).text
    assert "because of this" in page
    assert "See Operations" not in page
    found = re.search(r'name="again" value="(\w+)"', page)
    assert found is not None
    form = {"again": found[1]}
    answer = await site.http.post("/press/main/17", data=form, headers=headers, follow_redirects=True)
    assert ("Sent again." in answer.text) == bool(headers)
    assert [row.state for row in await submissions_of(site)] == ["waiting"]
    twice = await site.http.post("/press/main/17", data=form, headers=IN_PART)
    assert "you do not pay twice" in twice.text


async def test_only_what_was_asked_of_a_task_is_tried_again_there(site: Site) -> None:
    await called(site, "17", prompt="a cat", buttons=[U1])
    await called(site, "18", prompt="a cat")
    await posted(site, "/press/main/17", button="U1")
    await set_all(site, state="rejected")
    (row,) = await submissions_of(site)
    assert (await posted(site, "/press/main/18", again=row.id)).status_code == 404
    assert [row.state for row in await submissions_of(site)] == ["rejected"]
