"""Windows that wait for an answer: a mask painted by hand or by keyboard, a prompt, and what the upstream then got."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Page, Route, expect

from tests.browser.parts import Site, has_stayed, paint, press, shown, stays
from tests.browser.upstream import mask_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHITE, BLACK = 255, 0


def upscaled(site: Site, word: str, eventually: Any) -> tuple[str, str]:
    """A chain of a grid and its U1; the id of that."""
    chain_id = site.submit(f"alone, {word}")
    (grid,) = eventually(lambda: site.ended(chain_id))
    site.press(grid, "U1")
    return chain_id, eventually(lambda: site.ended(chain_id)[1:])[0]


REFRESH = "htmx.trigger(document.getElementById('selected-task'), 'refresh')"


async def comes_anew(page: Page) -> None:
    """The panel, as when its task has moved on."""
    async with page.expect_response("**/panel/**") as coming:
        await page.evaluate(REFRESH)
    await (await coming.value).finished()
    await page.evaluate("new Promise(requestAnimationFrame)")  # until it has been put in place


async def open_window(page: Page, button: str) -> None:
    """Press a button that opens one, and look at the node that waits."""
    await stays(page)
    await press(page.get_by_role("button", name=button))
    await press(page.locator(".node.modal"))
    await expect(page.locator("form.modal")).to_be_visible()


async def answered(page: Page, site: Site, chain_id: str) -> Any:
    """What the upstream got, whole, once the window's task has succeeded; and the page was not loaded anew."""
    await expect(page.locator("form.modal")).to_have_count(0)
    await expect(page.locator(".tree .node.success")).to_have_count(3)
    assert await has_stayed(page)
    (body,) = site.upstream.answers(site.ended(chain_id)[-1])
    return body


def check(mask: Image.Image, site: Site, upscaled_id: str, share: tuple[float, float]) -> None:
    """In the picture's size, white and black alone, and so much of it white, in one piece."""
    assert mask.size == site.upstream.picture(upscaled_id).size
    counts = mask.histogram()
    assert counts[WHITE] + counts[BLACK] == mask.width * mask.height
    assert share[0] < counts[WHITE] / (mask.width * mask.height) < share[1]


async def test_a_region_is_painted_with_the_mouse_or_a_finger(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """A line from left to right through the middle; nothing is sent before there is one."""
    chain_id, task_id = upscaled(site, word, eventually)
    await page.goto(f"/chains/{chain_id}?task={task_id}")
    await open_window(page, "Vary (Region)")
    await press(page.get_by_role("button", name="Answer"))
    await expect(page.get_by_role("alert")).to_contain_text("Paint what may change first")
    canvas = page.locator(".easel canvas")
    await shown(page.locator(".easel img"))
    await canvas.scroll_into_view_if_needed()
    box = await canvas.bounding_box()
    assert box is not None
    at = box["y"] + box["height"] / 2
    await paint(page, [(box["x"] + box["width"] * part, at) for part in (0.3, 0.4, 0.5, 0.6, 0.7)])
    await page.get_by_label("Prompt").fill("a golden crown")
    await press(page.get_by_role("button", name="Answer"))
    body = await answered(page, site, chain_id)
    mask = mask_of(body)
    check(mask, site, task_id, (0.03, 0.12))
    wide, high = mask.size
    for part, shade in ((0.3, WHITE), (0.5, WHITE), (0.7, WHITE), (0.15, BLACK), (0.85, BLACK)):
        assert mask.getpixel((round(part * wide), high // 2)) == shade
    for part in (0.3, 0.7):
        assert mask.getpixel((wide // 2, round(part * high))) == BLACK
    assert body["prompt"] == "a golden crown"


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_what_is_begun_in_a_window_outlives_its_panel(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """The panel comes anew when its task moves on, whoever is at it: a word about what is missing, paint and prompt stay."""
    chain_id, task_id = upscaled(site, word, eventually)
    await page.goto(f"/chains/{chain_id}?task={task_id}")
    await open_window(page, "Vary (Region)")

    await comes_anew(page)
    await press(page.get_by_role("button", name="Answer"))
    await comes_anew(page)
    await expect(page.get_by_role("alert")).to_contain_text("Paint what may change first")
    await shown(page.locator(".easel img"))
    await press(page.get_by_role("button", name="Whole picture"))
    await press(page.get_by_role("button", name="Whole picture"))
    await page.get_by_label("Prompt").fill("a golden crown")
    await comes_anew(page)
    await press(page.get_by_role("button", name="Undo"))
    await press(page.get_by_role("button", name="Answer"))
    body = await answered(page, site, chain_id)
    check(mask_of(body), site, task_id, (0.99, 1.01))
    assert body["prompt"] == "a golden crown"


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_what_one_looks_at_is_not_replaced_by_what_one_looked_at_before(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """Its panel comes anew just then, and its answer is late."""
    chain_id, task_id = upscaled(site, word, eventually)
    await page.goto(f"/chains/{chain_id}?task={task_id}")
    await stays(page)
    asked: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await page.route(f"**/panel/main/{task_id}", lambda route: asked.set_result(route), times=1)
    await page.evaluate(REFRESH)
    late = await asked
    heading = page.locator("#panel h2")
    await expect(heading).to_contain_text("Upscale")
    await press(page.locator(".tree .node").first)
    await expect(heading).to_contain_text("Imagine")
    await late.continue_()
    if answer := await late.request.response():  # none, where nobody waits for it any more
        await answer.finished()
    await comes_anew(page)
    assert "Imagine" in await heading.inner_text()


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_a_region_is_painted_by_keyboard_alone(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """From the button that opens the window to the answer, without a mouse: arrows move the brush, space paints."""
    chain_id, task_id = upscaled(site, word, eventually)
    await page.goto(f"/chains/{chain_id}?task={task_id}")
    await stays(page)
    await page.get_by_role("button", name="Vary (Region)").press("Enter")
    await page.locator(".node.modal").press("Enter")
    canvas = page.locator(".easel canvas")
    await shown(page.locator(".easel img"))
    await canvas.focus()
    for key in ["ArrowLeft"] * 10 + ["Space"]:
        await page.keyboard.press(key)
    while not await page.get_by_role("button", name="Answer").evaluate("e => e === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    mask = mask_of(await answered(page, site, chain_id))
    check(mask, site, task_id, (0.005, 0.02))
    assert mask.getpixel((round(0.2 * mask.width), mask.height // 2)) == WHITE
    assert mask.getpixel((mask.width // 2, mask.height // 2)) == BLACK


async def test_custom_zoom_is_answered_with_a_prompt(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """The window shows the picture's prompt; what is written over it is what the upstream gets, once."""
    chain_id, task_id = upscaled(site, word, eventually)
    await page.goto(f"/chains/{chain_id}?task={task_id}")
    await open_window(page, "Custom Zoom")
    prompt = page.get_by_label("Prompt")
    await expect(prompt).to_have_value(f"alone, {word}")
    await prompt.fill(f"alone, {word}, from afar --zoom 1.7")
    await page.get_by_role("button", name="Answer").dblclick()
    body = await answered(page, site, chain_id)
    assert body["prompt"] == f"alone, {word}, from afar --zoom 1.7"
    assert not body.get("maskBase64")
