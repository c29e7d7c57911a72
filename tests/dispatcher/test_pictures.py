"""Thumbnails and quarters of every kind of picture; of what was made to harm, none."""

from __future__ import annotations

import io
import resource
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from dispatcher.pictures import confined
from dispatcher.pictures.decoding import quarters, size, thumbnail
from dispatcher.pictures.drawing import rectangle
from midjourney.image_data import NotAnImage


def file_of(image: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data: bytes) -> Pillow.Image:
    with Pillow.open(io.BytesIO(data)) as opened:
        opened.load()
        return opened.copy()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("1", "PNG"),
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("RGB", "WEBP"),
        ("RGBA", "WEBP"),
        ("P", "GIF"),
    ],
)
def test_every_kind_of_picture_has_one(mode: str, kind: str) -> None:
    """The colours stay, to the eye."""
    large = Pillow.new("RGB", (800, 400), "white").convert(mode)
    small = thumbnail(file_of(large, kind), 192)
    shown = read(small).convert("RGB")
    assert shown.size == (192, 96)
    centre = shown.getpixel((96, 48))
    assert isinstance(centre, tuple)
    assert min(centre) > 245


def test_what_can_be_seen_through_stays_so() -> None:
    """A card's colour shows behind it."""
    shown = read(thumbnail(file_of(Pillow.new("RGBA", (400, 400), (0, 0, 0, 0)), "PNG"), 192))
    assert shown.mode == "RGBA"
    assert shown.getpixel((5, 5)) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_what_moves_the_first_frame_is_shown(kind: str) -> None:
    """Red, then blue."""
    frames = [Pillow.new("RGB", (300, 300), colour) for colour in ("red", "blue")]
    moving = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    shown = read(thumbnail(moving, 192)).convert("RGB")
    red, _, blue = shown.getpixel((90, 90))  # type: ignore[misc]  # three bands
    assert (red > 200, blue < 60) == (True, True)
    assert getattr(shown, "n_frames", 1) == 1


def test_a_ribbon_is_no_wall() -> None:
    """One pixel wide and higher than WebP can be."""
    shown = read(thumbnail(file_of(Pillow.new("L", (1, 60_000)), "PNG"), 192))
    assert shown.size[1] <= 4 * 192


@pytest.mark.parametrize("decode", [lambda data: thumbnail(data, 192), quarters, size])
@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_decoders_are_not_tried(kind: str, decode: Callable[[bytes], object]) -> None:
    """Four are enough, whatever is done with the picture."""
    with pytest.raises(NotAnImage):
        decode(file_of(Pillow.new("RGB", (64, 64)), kind))


@pytest.mark.parametrize("decode", [lambda data: thumbnail(data, 192), quarters, size])
@pytest.mark.parametrize(("width", "height"), [(4501, 4000), (10_000, 10_000), (60_000, 60_000)])
def test_a_claim_of_too_many_pixels_is_refused_unread(
    width: int, height: int, decode: Callable[[bytes], object]
) -> None:
    """In a file of some bytes: below Pillow's own warning, between it and its error, and above."""
    honest = file_of(Pillow.new("1", (8, 8)), "GIF")
    bomb = honest[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + honest[10:]
    with (
        warnings.catch_warnings(action="ignore", category=Pillow.DecompressionBombWarning),
        pytest.raises(NotAnImage, match="pixels"),
    ):
        decode(bomb)


@pytest.mark.process
async def test_the_largest_picture_fits_into_the_memory_of_the_process() -> None:
    """A 4x upscale as WebP, whose decoder takes the most memory for each pixel."""
    largest = file_of(Pillow.new("RGB", (4096, 4096)), "WEBP", quality=1, method=0)
    assert read(await confined.thumbnail(largest, 192)).size == (192, 192)
    assert [read(one).size for one in await confined.quarters(largest)] == [(2048, 2048)] * 4


@pytest.mark.process
async def test_a_bomb_is_refused_apart_and_the_next_picture_is_decoded_by_the_same_process() -> None:
    """22 kB that claim 177 million pixels took 1.3 GB of the server."""
    bomb = file_of(Pillow.new("1", (13_304, 13_304)), "PNG")
    small = file_of(Pillow.new("CMYK", (9, 5)), "JPEG")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for ask in (confined.quarters(bomb), confined.thumbnail(bomb, 192), confined.size(bomb)):
        with pytest.raises(NotAnImage, match="claims 13304 x 13304 pixels"):
            await ask
    pid = confined.decoder.pid
    assert [read(one).size for one in await confined.quarters(small)] == [(4, 2), (5, 2), (4, 3), (5, 3)]
    assert await confined.size(small) == (9, 5)
    assert confined.decoder.pid == pid
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize("cut", [9, 20, 60, 200])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_half_a_picture_is_none(kind: str, cut: int) -> None:
    """Whatever a decoder raises then."""
    whole = file_of(Pillow.effect_noise((300, 300), 90).convert("RGB"), kind)
    with pytest.raises(NotAnImage):
        thumbnail(whole[:cut], 192)
    with pytest.raises(NotAnImage):
        quarters(whole[:cut])


@pytest.mark.parametrize("size", [(1, 5), (5, 1)])
def test_a_line_has_no_quarters(size: tuple[int, int]) -> None:
    with pytest.raises(NotAnImage, match="is too small to be cut into quarters"):
        quarters(file_of(Pillow.new("L", size), "PNG"))


SPAN = st.integers(0, 9)


@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), corners=st.tuples(SPAN, SPAN, SPAN, SPAN))
def test_a_drawn_rectangle_is_what_a_decoder_sees(
    size: tuple[int, int], corners: tuple[int, int, int, int]
) -> None:
    """Pillow reads the same pixels that it would have drawn, also where a rectangle is empty or touches an edge."""
    (width, height), (left, top, right, bottom) = size, corners
    left, right, top, bottom = min(left, width), min(right, width), min(top, height), min(bottom, height)
    drawn = read(rectangle(size, (left, top), (right, bottom), fill=255, around=7))
    expected = Pillow.new("L", size, 7)
    if left < right and top < bottom:
        expected.paste(255, (left, top, right, bottom))
    assert (drawn.mode, drawn.size) == ("L", size)
    assert drawn.tobytes() == expected.tobytes()
