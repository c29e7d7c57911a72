"""Pictures show what they are, so that a person, or a test, can see what grew from what."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from midjourney.sandbox import drawing
from midjourney.sandbox.drawing import Picture

JOB = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
STEP = st.tuples(st.integers(0, 4), st.sampled_from(sorted(drawing._WORK_CODES)))


def seen(path: str, **fields: Any) -> Image.Image:
    picture = Picture(path=path, seed=123456, **fields)
    image = Image.open(io.BytesIO(drawing.png(picture))).convert("RGB")
    assert image.size == drawing.size_of(picture)
    return image


def unlike(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the pixels, from 0 to 255."""
    small = [image.resize((64, 64)) for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3


def tile(grid: Image.Image, number: int) -> Image.Image:
    width, height = grid.width // 2, grid.height // 2
    left, top = (number - 1) % 2 * width, (number - 1) // 2 * height
    return grid.crop((left, top, left + width, top + height))


@given(
    st.sampled_from(sorted(drawing._WORK_CODES)),
    st.lists(STEP, max_size=12),
    st.integers(0, 2**32 - 1),
    st.integers(0, 100),
    st.text(max_size=200),
)
def test_a_name_tells_the_whole_picture(root: str, steps: Any, seed: int, percent: int, prompt: str) -> None:
    """However long the way to it, and whatever the prompt is written in; short enough for any file system."""
    path = drawing.child_path("", 0, root)
    for number, work in steps:
        path = drawing.child_path(path, number, work)
    picture = Picture(
        path=path, seed=seed, percent=percent, width=3, height=2, prompt=prompt[: drawing.LONGEST_PROMPT]
    )
    name = drawing.name_of(picture, JOB, 7)
    assert drawing.parse_name(name) == picture
    assert len(drawing.name_of(picture, JOB, 7)) < 480


@given(st.text(max_size=80) | st.just(f"{JOB}_q_1_100_1x1_.1") | st.just(f"{JOB}_i_1_100_9x1_.1"))
def test_no_other_name_is_a_picture(name: str) -> None:
    """Nothing is raised."""
    assert drawing.parse_name(name) is None


def test_a_zoom_has_its_parent_in_the_middle() -> None:
    """Smaller, with something around it; and its own upscale shows the zoom."""
    parent, zoomed = seen("i2u"), seen("i2u0z1u")
    width, height = zoomed.size
    middle = zoomed.crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))
    assert unlike(middle, parent) < unlike(zoomed, parent)
    assert unlike(middle, parent) < unlike(middle, seen("i1u"))
    assert unlike(tile(seen("i2u0z"), 1), zoomed) < 10


@pytest.mark.parametrize("work", sorted(drawing._WORK_CODES))
def test_every_work_draws(work: str) -> None:
    """As a root and as the third press; a prompt in Chinese too; twice the same bytes."""
    root = drawing.child_path("", 0, work)
    third = drawing.child_path("i2u0z", 3, work)
    for path in (root, third):
        picture = Picture(path=path, seed=9, prompt="一只猫 in the rain", width=16, height=9)
        drawing.png.cache_clear()
        first = drawing.png(picture)
        drawing.png.cache_clear()
        assert drawing.png(picture) == first
        assert len(first) < 150_000


def test_progress_clears_up_and_the_prompt_is_written() -> None:
    """0, 50 and 100 % differ; so does the picture without its words."""
    steps = [seen("i", percent=percent) for percent in (0, 50, 100)]
    assert unlike(steps[0], steps[2]) > unlike(steps[1], steps[2]) > 0
    assert unlike(seen("i", prompt="a cat"), seen("i")) > 0


@pytest.mark.parametrize(
    ("prompt", "ratio"),
    [("a --ar 3:2", (3, 2)), ("a", (1, 1)), ("a --ar 99:1", (1, 1)), ("a --ar 0:0", (1, 1))],
)
def test_the_ratio_is_the_prompts(prompt: str, ratio: tuple[int, int]) -> None:
    """Within what Midjourney takes."""
    assert drawing.ratio_of(prompt) == ratio
