"""A finished task's picture kept for good: its address expires, after 24 hours or sooner."""

from __future__ import annotations

import hashlib
import re
import time
from urllib.parse import urlsplit

import msgspec

from dispatcher.chain import Chain
from dispatcher.effects.store import file_name, store_at
from dispatcher.errors import GiveUp
from midjourney.image_data import EXTENSIONS, Image
from midjourney.loading import NotServed, Progress, fetch_image
from midjourney.types import Task

LARGEST_BYTES = 50 * 1024 * 1024
"""A 4x upscale as PNG has up to 40 MB."""

SOON_MS = 60_000
"""An address that expires so soon is asked for anew before it is used."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept: names below the place it was kept in, size, and digest."""

    name: str
    sidecar: str
    size_bytes: int
    sha256: str
    media_type: str


async def archive(task: Task, *, chain: Chain, to: str, progress: Progress | None = None) -> Archived:
    """Keep the task's picture in `to` (a folder, or s3://bucket/prefix), with a JSON file about it beside it.

    Its address goes out as it is, query string included, and is asked for anew when it has expired. Addresses inside
    a network are not fetched, but for the upstream's own. Raises `GiveUp` for a task without a picture, `BadImage` for
    what is none or too large, `StoreError`.
    """
    store = store_at(to)
    image, address = await picture_of(task, chain, progress)
    base = file_name(chain.upstream, chain.id or "no-chain", task.id)
    name, sidecar = f"{base}.{EXTENSIONS[image.media_type]}", f"{base}.json"
    digest = hashlib.sha256(image.data).hexdigest()
    about = about_task(task, chain, address) | {
        "file": name.rpartition("/")[2],
        "media_type": image.media_type,
        "size_bytes": len(image.data),
        "sha256": digest,
    }
    await store.put(name, image.data)
    await store.put(sidecar, msgspec.json.format(msgspec.json.encode(about), indent=2))
    return Archived(
        name=name, sidecar=sidecar, size_bytes=len(image.data), sha256=digest, media_type=image.media_type
    )


async def picture_of(task: Task, chain: Chain, progress: Progress | None = None) -> tuple[Image, str]:
    """The task's picture and the address it was had from."""
    address = task.image_url
    if not address:
        raise GiveUp(f"task {task.id} has no picture (status {task.status})")
    expires_ms = expires_at_ms(address)
    if expires_ms is not None and expires_ms < time.time() * 1000 + SOON_MS:
        address = await chain.fresh_image_url() or address
    try:
        return await _load(address, chain, progress), address
    except NotServed:
        fresh = await chain.fresh_image_url()
        if not fresh or fresh == address:
            raise
        return await _load(fresh, chain, progress), fresh


async def _load(address: str, chain: Chain, progress: Progress | None) -> Image:
    return await fetch_image(address, largest=LARGEST_BYTES, is_own=chain.is_own_address, progress=progress)


def about_task(task: Task, chain: Chain, address: str) -> dict[str, object]:
    """What is worth knowing of a picture in ten years. The address without its signature."""
    return {
        "task_id": task.id,
        "upstream": chain.upstream,
        "chain_id": chain.id,
        "depth": chain.depth,
        "action": task.action,
        "prompt": task.prompt,
        "final_prompt": task.final_prompt,
        "image_number": task.image_number,
        "parent_id": task.pressed_on,
        "finished_at_ms": task.finish_time_ms,
        "source": urlsplit(address)._replace(query="", fragment="").geturl(),
    }


_EXPIRY = re.compile(r"[?&]ex=([0-9a-fA-F]{1,12})(?:&|$)")


def expires_at_ms(address: str) -> int | None:
    """When a Discord address ends, epoch milliseconds: its `ex` is seconds in hexadecimal. None where it has none."""
    found = _EXPIRY.search(address)
    return int(found[1], 16) * 1000 if found else None
