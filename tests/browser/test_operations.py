"""What people do about what waits for them: dead letters, quarantine, uncertain submissions, an upstream's pause."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Dialog, Page, expect

from tests.browser.parts import Site, has_stayed, press, stays

pytestmark = pytest.mark.asyncio(loop_scope="session")


def states(site: Site, chain_id: str) -> list[str]:
    """Of a chain's submissions."""
    return [one["state"] for one in site.chain(chain_id)["submissions"]]


def in_state(site: Site, prompt: str, state: str, eventually: Any) -> str:
    """Submit a prompt; the chain, once its submission has come to a state.

    One that was refused for its key pauses the upstream, which goes on then: it serves other tests too.
    """
    chain_id = site.submit(prompt)
    eventually(lambda: states(site, chain_id) == [state])
    if state == "dead":
        site.resume()
    return chain_id


async def test_dead_letters_are_retried_mended_and_dropped(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """One as it is, one with another prompt; then all that match a word, and no others."""
    again = in_state(site, f"alone, refused once, {word}a", "dead", eventually)
    mend = in_state(site, f"alone, refused, {word}b", "dead", eventually)
    gone = [in_state(site, f"alone, refused, {word}c {n}", "dead", eventually) for n in range(2)]
    other = in_state(site, f"alone, refused, {word}d", "dead", eventually)
    asked: list[str] = []

    async def accept(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await dialog.accept()

    page.on("dialog", accept)
    await page.goto(f"/operations?text={word}")
    await stays(page)
    letters = page.locator("#letters .letters > li")
    await expect(letters).to_have_count(5)

    await press(letters.filter(has_text=f"{word}a").get_by_role("button", name="Retry", exact=True))
    await expect(letters).to_have_count(4)
    eventually(lambda: states(site, again) == ["accepted"])

    mended = letters.filter(has_text=f"{word}b")
    await press(mended.get_by_text("Edit and retry"))
    request = mended.get_by_label("The request")
    written = json.loads(await request.input_value())
    assert written["prompt"] == f"alone, refused, {word}b"
    await request.fill(json.dumps(written | {"prompt": f"alone, mended, {word}"}))
    await press(mended.get_by_role("button", name="Retry with this"))
    await expect(letters).to_have_count(3)
    eventually(lambda: states(site, mend) == ["accepted"])
    assert f"alone, mended, {word}" in [body.get("prompt") for _, body in site.upstream.bodies]
    assert await has_stayed(page)

    form = page.locator("#letters form.filters")
    await form.get_by_label("Contains").fill(f"{word}c")
    await press(form.get_by_role("button", name="Show"))
    await expect(letters).to_have_count(2)
    await page.wait_for_load_state()  # until its scripts are there, a page asks whether it is meant
    await press(page.get_by_role("button", name="Drop all matching"))
    await expect(letters).to_have_count(0)
    assert asked == ["2 match. Discard all of these for good?"]
    assert [states(site, one) for one in gone] == [["rejected"], ["rejected"]]
    assert states(site, other) == ["dead"]


async def test_one_is_dropped_when_that_is_meant(page: Page, site: Site, word: str, eventually: Any) -> None:
    """A letter and a body: whoever says no keeps them."""
    in_state(site, f"alone, refused, {word}", "dead", eventually)
    assert site.call(f'{{"id": "{word}", "prompt": '.encode()) == 400
    asked: list[str] = []
    answers = iter([False, True, False, True])

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await (dialog.accept() if next(answers) else dialog.dismiss())

    page.on("dialog", answer)
    await page.goto(f"/operations?text={word}")
    await page.wait_for_load_state()
    await stays(page)
    for one in (page.locator("#letters .letters > li"), page.locator("li[id^=body-]", has_text=word)):
        drop = one.get_by_role("button", name="Drop", exact=True)
        await press(drop)
        await expect(one).to_have_count(1)
        await press(drop)
        await expect(one).to_have_count(0)
    assert asked == ["Discard this for good?"] * 2 + ["Delete this?"] * 2
    assert await has_stayed(page)


async def test_a_quarantined_body_is_mended_and_read(page: Page, site: Site, word: str) -> None:
    """It was cut off; whole, its task is in the gallery."""
    assert site.call(f'{{"id": "{word}", "status": "FAILURE", "prompt": "whole, {word}'.encode()) == 400
    await page.goto("/operations")
    await stays(page)
    body = page.locator("li[id^=body-]", has_text=word)
    await press(body.get_by_text("Edit and retry"))
    text = body.get_by_label("The body")
    await text.fill(await text.input_value() + '", "failReason": "none"}')
    await press(body.get_by_role("button", name="Process this instead"))
    await expect(body).to_have_count(0)
    assert await has_stayed(page)
    assert site.server.get(f"/api/tasks/main/{word}")["status"] == "FAILURE"
    await page.goto(f"/?text={word}")
    await expect(page.locator(".card", has_text=f"whole, {word}")).to_have_count(1)


async def test_an_uncertain_submission_is_settled_either_way(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """ "It was accepted" ties the task that a person names; "It was not" sends it again, and no third time."""
    taken = in_state(site, f"alone, lost, {word}a", "uncertain", eventually)
    lost = in_state(site, f"alone, lost, {word}b", "uncertain", eventually)
    made = site.upstream.http.post("/mj/submit/imagine", json={"prompt": f"alone, {word}"}).json()["result"]
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto("/operations")
    await stays(page)
    waiting = {
        chain: page.locator("li[id^=uncertain-]").filter(has=page.locator(f"a[href='/chains/{chain}']"))
        for chain in (taken, lost)
    }
    await waiting[taken].get_by_label("Task id, if known").fill(made)
    await press(waiting[taken].get_by_role("button", name="It was accepted"))
    await expect(waiting[taken]).to_have_count(0)
    await press(waiting[lost].get_by_role("button", name="It was not accepted: send it again"))
    await expect(waiting[lost]).to_have_count(0)
    assert await has_stayed(page)
    eventually(lambda: site.ended(taken) == [made])
    eventually(lambda: len(site.ended(lost)) == 1)
    sent = [str(body.get("prompt")) for _, body in site.upstream.bodies]
    assert [sent.count(f"alone, lost, {word}{one}") for one in "ab"] == [1, 2]


async def test_an_upstream_is_paused_and_resumed(page: Page, site: Site, word: str, eventually: Any) -> None:
    """What is asked for meanwhile waits; another page of it hears at once."""
    await page.goto("/operations")
    other = await page.context.new_page()
    await other.goto("/operations")
    await stays(other)
    await page.bring_to_front()
    await press(page.get_by_role("button", name="Pause"))
    await expect(page.locator(".badge.paused")).to_be_visible()
    chain_id = site.submit(f"alone, {word}")
    await other.bring_to_front()
    await expect(other.locator(".badge.paused")).to_be_visible()
    assert states(site, chain_id) == ["waiting"]
    await press(other.get_by_role("button", name="Resume"))
    await expect(other.locator(".badge.paused")).to_have_count(0)
    eventually(lambda: states(site, chain_id) == ["accepted"])
    assert await has_stayed(other)
