"""Archives the picture and the videos of a finished task, whose URLs expire after 24 hours or sooner."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from dispatcher.effects.expiring_links import expires_soon
from dispatcher.effects.kept import KeptFile, told_of
from dispatcher.effects.store import Store, file_name, named, store_at
from dispatcher.effects.videos import keep_videos
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from midjourney.bounded import Progress
from midjourney.image_data import EXTENSIONS, Image
from midjourney.loading import NotServed, fetch_image
from midjourney.types import Task
from midjourney.video_links import is_video_link, video_links

LARGEST_BYTES = 50 * 1024 * 1024
"""A 4x upscale as PNG can have 40 MB."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """An archived picture (of a task without one: its first video): file names relative to the destination, size, and digest.
    `videos` are the names of the videos."""

    name: str
    sidecar: str
    size_bytes: int
    sha256: str
    media_type: str
    videos: tuple[str, ...] = ()


async def archive(
    task: Task, *, chain: Chain, to: str, path: Sequence[str] = (), progress: Progress | None = None
) -> Archived:
    """Store the task's picture and videos in `to` (a folder, or s3://bucket/prefix), together with a JSON file that describes them.

    `path`: the folders in `to`, and last the beginning of the file's name ("" for none), whatever they contain; upstream and task id are
    added. Without it the file is UPSTREAM/CHAIN/TASK.png. The same task always gets the same file.

    The picture is loaded from its URL unchanged, including the query string; an expired URL is renewed. Private links are
    loaded only from the upstream itself and from its `private_hosts`. Raises `GiveUp` for a task without a picture,
    `BadImage` for one that is invalid or too large, and `StoreError`.
    """
    store, base = store_at(to), base_of(path, chain, task.id)
    about = about_task(task, chain)
    picture = None
    if not is_video_link(task.image_url) and (task.image_url or not video_links(task)):
        picture = await _keep_picture(task, chain, store, base, progress)
        about |= told_of(picture)
    videos = await keep_videos(task, chain=chain, store=store, base=base)
    if videos:
        about["videos"] = [told_of(video) for video in videos]
    if picture is None and not videos:
        raise GiveUp(f"none of the videos of task {task.id} can be kept")
    sidecar = f"{base}.json"
    await store.put(sidecar, msgspec.json.format(msgspec.json.encode(about), indent=2))
    first = picture or videos[0]
    return Archived(
        name=first.name,
        sidecar=sidecar,
        size_bytes=first.size_bytes,
        sha256=first.sha256,
        media_type=first.media_type,
        videos=tuple(video.name for video in videos),
    )


async def _keep_picture(
    task: Task, chain: Chain, store: Store, base: str, progress: Progress | None
) -> KeptFile:
    image, address = await picture_of(task, chain, progress)
    kept = KeptFile(
        name=f"{base}.{EXTENSIONS[image.media_type]}",
        media_type=image.media_type,
        size_bytes=len(image.data),
        sha256=hashlib.sha256(image.data).hexdigest(),
        address=address,
    )
    await store.put(kept.name, image.data)
    return kept


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
    if expires_soon(address):
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


def about_task(task: Task, chain: Chain) -> dict[str, object]:
    """What is worth knowing about a picture in ten years."""
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
    }
