"""A grid cut into its four pictures here, instead of paying for four upscales: at v5 and later they are the same."""

from __future__ import annotations

import asyncio
import io

import msgspec
from PIL import Image as Pillow

from dispatcher.chain import Chain
from dispatcher.effects.archive import about_task, picture_of
from dispatcher.effects.store import file_name, store_at
from dispatcher.errors import GiveUp
from midjourney.image_data import BadImage
from midjourney.types import Task


async def split_grid(task: Task, *, chain: Chain, to: str) -> list[str]:
    """Keep the four quarters of the task's picture in `to`, numbered as U1 to U4 are; their names.

    Raises `GiveUp` for a task that is no grid, and as `archive` does.
    """
    if not task.is_grid:
        raise GiveUp(f"task {task.id} is no grid: it does not offer U1 to U4")
    store = store_at(to)
    image, address = await picture_of(task, chain)
    quarters = await asyncio.to_thread(cut, image.data)
    names = []
    for number, quarter in enumerate(quarters, 1):
        base = file_name(chain.upstream, chain.id or "no-chain", f"{task.id}-{number}")
        about = about_task(task, chain, address) | {"image_number": number, "file": f"{task.id}-{number}.png"}
        await store.put(f"{base}.png", quarter)
        await store.put(f"{base}.json", msgspec.json.format(msgspec.json.encode(about), indent=2))
        names.append(f"{base}.png")
    return names


def cut(data: bytes) -> list[bytes]:
    """The quarters of an image as PNG: left and right above, left and right below. An odd middle line goes right, or down.

    Raises `BadImage` for what cannot be read, or is too small to have four.
    """
    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            opened.load()
            image = opened.copy()
    except (OSError, Pillow.DecompressionBombError) as error:
        raise BadImage(f"the grid cannot be read: {error}") from error
    width, height = image.size
    if width < 2 or height < 2:
        raise BadImage(f"an image of {width} x {height} pixels has no four quarters")
    across, down = width // 2, height // 2
    boxes = [
        (0, 0, across, down),
        (across, 0, width, down),
        (0, down, across, height),
        (across, down, width, height),
    ]
    return [_png(image.crop(box)) for box in boxes]


def _png(image: Pillow.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
