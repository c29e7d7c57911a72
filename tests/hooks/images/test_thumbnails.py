"""Thumbnails of every kind of picture; of what was made to harm, none."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Pillow

from hooks.images.thumbnails import thumbnail
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
    assert small.media_type == "image/webp"
    shown = read(small.data).convert("RGB")
    assert shown.size == (192, 96)
    centre = shown.getpixel((96, 48))
    assert isinstance(centre, tuple)
    assert min(centre) > 245


def test_what_can_be_seen_through_stays_so() -> None:
    """A card's colour shows behind it."""
    shown = read(thumbnail(file_of(Pillow.new("RGBA", (400, 400), (0, 0, 0, 0)), "PNG"), 192).data)
    assert shown.mode == "RGBA"
    assert shown.getpixel((5, 5)) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_what_moves_the_first_frame_is_shown(kind: str) -> None:
    """Red, then blue."""
    frames = [Pillow.new("RGB", (300, 300), colour) for colour in ("red", "blue")]
    moving = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    shown = read(thumbnail(moving, 192).data).convert("RGB")
    red, _, blue = shown.getpixel((90, 90))  # type: ignore[misc]  # three bands
    assert (red > 200, blue < 60) == (True, True)
    assert getattr(shown, "n_frames", 1) == 1


def test_a_ribbon_is_no_wall() -> None:
    """One pixel wide and higher than WebP can be."""
    shown = read(thumbnail(file_of(Pillow.new("L", (1, 60_000)), "PNG"), 192).data)
    assert shown.size[1] <= 4 * 192


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_decoders_are_not_tried(kind: str) -> None:
    """Four are enough."""
    with pytest.raises(NotAnImage):
        thumbnail(file_of(Pillow.new("RGB", (64, 64)), kind), 192)


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10_000, 10_000), (60_000, 60_000)])
def test_a_claim_of_too_many_pixels_is_refused_unread(width: int, height: int) -> None:
    """In a file of some bytes: below Pillow's own warning, between it and its error, and above."""
    honest = file_of(Pillow.new("1", (8, 8)), "GIF")
    bomb = honest[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + honest[10:]
    with pytest.raises(NotAnImage, match="pixels"):
        thumbnail(bomb, 192)


def test_of_webp_fewer_pixels_are_read() -> None:
    """Its decoder takes more memory for each; a 4x upscale has one."""
    size = (4096, 4096)
    assert read(thumbnail(file_of(Pillow.new("RGB", size), "WEBP", quality=1, method=0), 192).data).size == (
        192,
        192,
    )
    size = (4900, 4900)
    with pytest.raises(NotAnImage, match="at most 24000000"):
        thumbnail(file_of(Pillow.new("RGB", size), "WEBP", quality=1, method=0), 192)


@pytest.mark.parametrize("cut", [9, 20, 60, 200])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_half_a_picture_is_none(kind: str, cut: int) -> None:
    """Whatever a decoder raises then."""
    whole = file_of(Pillow.effect_noise((300, 300), 90).convert("RGB"), kind)
    with pytest.raises(NotAnImage):
        thumbnail(whole[:cut], 192)
