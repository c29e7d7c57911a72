"""What a press does can be seen: what stays, what moves, what is new. Names are tested beside the sandbox's tests."""

from __future__ import annotations

import io
from functools import cache

import pytest
from PIL import Image, ImageChops, ImageStat

from midjourney.sandbox import drawing
from midjourney.sandbox.buttons import GRIDS
from midjourney.sandbox.drawing import Picture

SEEDS = (5, 2**32 - 1)
WORKS = sorted(drawing._WORK_CODES)
Shape = tuple[str, int, str, int, int]


@cache
def seen(path: str, seed: int, prompt: str = "", percent: int = 100) -> Image.Image:
    picture = Picture(path=path, seed=seed, prompt=prompt, percent=percent)
    return Image.open(io.BytesIO(drawing.png(picture))).convert("RGB")


def unlike(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the pixels, from 0 to 255."""
    small = [image.resize((96, 96), Image.Resampling.BOX) for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3


def tile(grid: Image.Image, number: int) -> Image.Image:
    left, top = (number - 1) % 2 * 257, (number - 1) // 2 * 257
    return grid.crop((left, top, left + 255, top + 255))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_upscale_is_its_image_of_the_grid(seed: int) -> None:
    """Nearly the same pixels, and at least twice as far from each of the others; whatever kind of grid it is."""
    for path in ("i", "b", "i2v"):
        grid = seen(path, seed)
        for number in (1, 2, 3, 4):
            upscale = seen(f"{path}{number}u", seed)
            nearest, *others = sorted((unlike(tile(grid, other), upscale), other) for other in (1, 2, 3, 4))
            assert nearest[1] == number
            assert nearest[0] < 6
            assert path == "i2v" or others[0][0] > 2 * nearest[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_zoom_steps_back_from_its_parent(seed: int) -> None:
    """The middle three fifths show what the parent showed, in each of the four; what is around it is new."""
    parent, grid = seen("i2u", seed), seen("i2u0z", seed)
    for number in (1, 2, 3, 4):
        image = tile(grid, number)
        middle = image.crop((51, 51, 204, 204))
        assert unlike(middle, parent) < 8
        assert unlike(middle, parent) < unlike(image, parent) / 2
    assert unlike(tile(grid, 1), tile(grid, 2)) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pan_walks_along_its_parent(seed: int) -> None:
    """Its left part is the parent's right part."""
    parent, panned = seen("i2u", seed), seen("i2u0p1u", seed)
    shift = round(512 * 0.35)
    kept = panned.crop((0, 0, 512 - shift - 30, 512))
    assert unlike(kept, parent.crop((shift, 0, 482, 512))) < 4
    assert unlike(panned, parent) > 4


@pytest.mark.parametrize("seed", SEEDS)
def test_an_inpaint_changes_one_region(seed: int) -> None:
    """The left half stays to the last pixel."""
    parent, changed = seen("i2u", seed), seen("i2u0n3u", seed)
    assert unlike(parent.crop((0, 0, 256, 512)), changed.crop((0, 0, 256, 512))) == 0
    assert unlike(parent.crop((256, 0, 512, 512)), changed.crop((256, 0, 512, 512))) > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_variation_keeps_the_composition(seed: int) -> None:
    """All four differ from their parent and from one another, less than the grid's images do."""
    parent, grid = seen("i2u", seed), seen("i2v", seed)
    stranger = min(unlike(parent, seen(f"i{other}u", seed)) for other in (1, 3, 4))
    tiles = [tile(grid, number) for number in (1, 2, 3, 4)]
    assert all(0.5 < unlike(image, parent) < stranger for image in tiles)
    assert all(unlike(tiles[one], tiles[two]) > 0 for one in range(4) for two in range(one))


def test_enhancing_and_filming_keep_the_scene() -> None:
    """With more detail, and with the mark of a film."""
    plain, fine, film = seen("i2u", 77), seen("i2u0h", 77), seen("i2u0m", 77)
    assert 0 < unlike(plain, fine) < 8
    edge = (0, 0, 512, 120)
    assert unlike(plain.crop(edge), film.crop(edge)) == 0
    assert unlike(plain, film) > 0


SHAPES = (
    ("i2z0z", 60, "x" * 90, 4, 1),
    ("", 0, "\x00\n·", 1, 4),
    ("", 100, "一只猫 in the rain", 999, 250),
    ("i2z0z", 60, "x" * 90, 16, 9),
    ("", 100, "一只猫 in the rain", 1, 1),
)
"""A way to the picture, how far it is, its ratio, and its prompt: one that the font cannot write, and one with no place to break."""

DRAWN_ALIKE = {"imagine", "upscale", "video"}
"""A work of each way to draw: four images, one, and one with a mark. Each has all shapes; the others have one."""


@pytest.mark.parametrize(
    ("work", "shapes"),
    [
        (work, SHAPES if work in DRAWN_ALIKE else (SHAPES[number % len(SHAPES)],))
        for number, work in enumerate(WORKS)
    ],
    ids=WORKS,
)
def test_every_work_draws_small_files_of_its_ratio(work: str, shapes: tuple[Shape, ...]) -> None:
    """Whatever its prompt and its ratio."""
    for path, percent, prompt, width, height in shapes:
        picture = Picture(
            path=drawing.child_path(path, 3, work),
            seed=9,
            percent=percent,
            prompt=prompt,
            width=width,
            height=height,
        )
        data = drawing.png(picture)
        assert len(data) < 150_000
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            assert image.size == drawing.size_of(picture)
            assert max(image.size) == drawing.LONGEST_SIDE


@pytest.mark.parametrize("work", WORKS)
def test_the_longest_way_draws(work: str) -> None:
    """Eight presses of one kind: a camera very far back, or far along."""
    path = drawing.child_path("", 0, "imagine")
    for _ in range(12):
        path = drawing.child_path(path, 1, work)
    assert len(path) == drawing.LONGEST_PATH
    assert seen(path, 3).size == (512, 512)


def test_a_preview_clears_up() -> None:
    """0, 50 and 100 % differ, and come nearer; at 0 % there is no colour."""
    steps = [seen("i", 5, percent=percent) for percent in (0, 50, 100)]
    assert unlike(steps[0], steps[2]) > unlike(steps[1], steps[2]) > 1
    red, green, blue = steps[0].split()
    assert max(ImageStat.Stat(ImageChops.difference(red, other)).mean[0] for other in (green, blue)) < 1


@pytest.mark.parametrize(("path", "percent"), [("d", 0), ("i", 60), ("i2z0z3u", 60)])
def test_a_preview_is_the_same_bytes_twice(path: str, percent: int) -> None:
    """Whole pictures are drawn twice in test_drawing.py."""
    picture = Picture(path=path, seed=9, percent=percent, prompt="x" * 90, width=16, height=9)
    assert drawing.png.__wrapped__(picture) == drawing.png.__wrapped__(picture)


def test_the_prompt_is_written_in_a_dark_band() -> None:
    """White on dark whatever is below; without a prompt there is no band."""
    for seed in SEEDS:
        band = seen("i2u", seed, prompt="a cat").crop((300, 490, 512, 512))
        assert max(ImageStat.Stat(band).mean) < 110
    assert unlike(seen("i2u", 5, prompt="  "), seen("i2u", 5)) == 0


def test_grids_are_those_of_the_buttons() -> None:
    """Four images where there are four buttons: the white gap between them is seen."""
    for work in WORKS:
        gap = seen(drawing.child_path("", 0, work), 5).getpixel((256, 300))
        assert (gap == (255, 255, 255)) == (work in GRIDS), work
