"""Cuts a grid into its four pictures locally, instead of paying for four upscales: since v5 they are the same."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.effects.archive import about_task, base_of, picture_of
from dispatcher.effects.kept import without_query
from dispatcher.effects.rehearsal import present
from dispatcher.effects.store import store_at
from dispatcher.pictures.confined import quarters
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from midjourney.image_data import NotAnImage
from midjourney.types import Task


async def split_grid(task: Task, *, chain: Chain, to: str, path: Sequence[str] = ()) -> list[str]:
    """Store the four quarters of the task's picture in `to`, numbered like U1 to U4. Returns their file names. `path` as for `archive`.

    Raises what `archive` raises; `GiveUp` also if the task is not a grid or its picture cannot be decoded; `Broken` if the process
    that decodes it ended for another reason.
    """
    if not task.is_grid:
        raise GiveUp(f"task {task.id} is not a grid: it does not offer U1 to U4")
    store = store_at(to)
    image, address = await picture_of(task, chain)
    try:
        # A rehearsal's picture is a single pixel.
        pictures = await quarters(image.data) if present() is None else [image.data] * 4
    except NotAnImage as error:
        raise GiveUp(f"the grid of task {task.id} cannot be cut: {error}") from error
    names = []
    for number, quarter in enumerate(pictures, 1):
        base = base_of(path, chain, f"{task.id}-{number}")
        about = about_task(task, chain) | {
            "image_number": number,
            "source": without_query(address),
            "file": f"{base.rpartition('/')[2]}.png",
        }
        await store.put(f"{base}.png", quarter)
        await store.put(f"{base}.json", msgspec.json.format(msgspec.json.encode(about), indent=2))
        names.append(f"{base}.png")
    return names
