"""Archives the picture of a finished task, whose URL expires after 24 hours or sooner."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from dispatcher.effects.store import file_name, named, store_at
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from midjourney.bounded import Progress
from midjourney.image_data import EXTENSIONS, Image
from midjourney.loading import NotServed, fetch_image
from midjourney.types import Task
from storage import clock

LARGEST_BYTES = 50 * 1024 * 1024
"""A 4x upscale as PNG can have 40 MB."""

SOON_MS = 60_000
"""A URL that expires within this time is renewed before it is used."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """An archived picture: file names relative to the destination, size, and digest."""

    name: str
    sidecar: str
    size_bytes: int
    sha256: str
    media_type: str


async def archive(
    task: Task, *, chain: Chain, to: str, path: Sequence[str] = (), progress: Progress | None = None
) -> Archived:
    """Store the task's picture in `to` (a folder, or s3://bucket/prefix), together with a JSON file that describes it.

    `path`: the folders in `to`, and last the beginning of the file's name ("" for none), whatever they contain; upstream and task id are
    added. Without it the file is UPSTREAM/CHAIN/TASK.png. The same task always gets the same file.

    The picture is loaded from its URL unchanged, including the query string; an expired URL is renewed. Private links are
    loaded only from the upstream itself and from its `private_hosts`. Raises `GiveUp` for a task without a picture,
    `BadImage` for one that is invalid or too large, and `StoreError`.
    """
    store = store_at(to)
    image, address = await picture_of(task, chain, progress)
    base = base_of(path, chain, task.id)
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


def base_of(path: Sequence[str], chain: Chain, task_id: str) -> str:
    """The name of a task's file without its extension. `path` as `archive` takes it."""
    if path:
        return named(path, upstream=chain.upstream, task_id=task_id)
    return file_name(chain.upstream, chain.id or "no-chain", task_id)


async def picture_of(task: Task, chain: Chain, progress: Progress | None = None) -> tuple[Image, str]:
    """Load the task's picture. Returns it with the URL that it was loaded from."""
    address = task.image_url
    if not address:
        raise GiveUp(f"task {task.id} has no picture (status {task.status})")
    expires_ms = expires_at_ms(address)
    if expires_ms is not None and expires_ms < clock.now_ms() + SOON_MS:
        address = await chain.fresh_image_url() or address
    try:
        return await _load(address, chain, progress), address
    except NotServed:
        fresh = await chain.fresh_image_url()
        if not fresh or fresh == address:
            raise
        return await _load(fresh, chain, progress), fresh


async def _load(address: str, chain: Chain, progress: Progress | None) -> Image:
    return await fetch_image(
        address, largest=LARGEST_BYTES, may_be_private=chain.may_be_private, progress=progress
    )


def about_task(task: Task, chain: Chain, address: str) -> dict[str, object]:
    """What is worth knowing about a picture in ten years. The URL comes without its signature."""
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
    """When a Discord URL expires, in epoch milliseconds: its `ex` is hexadecimal seconds. None if it has no `ex`."""
    expiry = _EXPIRY.search(address)
    return int(expiry[1], 16) * 1000 if expiry else None
