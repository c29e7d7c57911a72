"""Keeps the videos of a task, each through a file: a video may be larger than the memory."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path

from dispatcher.effects.expiring_links import expires_soon
from dispatcher.effects.kept import KeptFile
from dispatcher.effects.store import Store, StoreError
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.daemon_threads import in_thread
from midjourney.image_data import NotAnImage, TooLarge
from midjourney.loading import NotServed
from midjourney.types import Task
from midjourney.video_links import video_links
from midjourney.video_loading import WITHIN_S, Video, fetch_video

_ABANDONED_S = 2 * WITHIN_S
"""An unfinished file of this age is of a process that has died."""


async def keep_videos(task: Task, *, chain: Chain, store: Store, base: str) -> list[KeptFile]:
    """Store the task's videos as BASE.mp4, or as BASE-video-1.mp4 … if there are several. One that is too large, or no video, is left out, with a note.
    Raises `BadImage` and `StoreError`."""
    links = video_links(task)
    if any(expires_soon(link) for link in links):
        links = await _renewed(links, chain)
    kept: list[KeptFile] = []
    for number in range(len(links)):
        name = base if len(links) == 1 else f"{base}-video-{number + 1}"
        try:
            kept.append(await _keep(links[number], name, chain, store))
        except NotServed:
            expired, links = links[number], await _renewed(links, chain)
            if links[number] == expired:
                raise
            kept.append(await _keep(links[number], name, chain, store))
        except (
            NotAnImage,
            TooLarge,
        ) as error:  # it will be no other at the next try, and the rest is worth keeping
            chain.note(f"left out: {error}")
    return kept


async def _renewed(links: tuple[str, ...], chain: Chain) -> tuple[str, ...]:
    """The addresses as the upstream knows them now; the old ones if it names fewer or more."""
    fresh = await chain.fresh_video_links()
    return fresh if len(fresh) == len(links) else links


async def _keep(link: str, name: str, chain: Chain, store: Store) -> KeptFile:
    unfinished = await in_thread(lambda: _begun(store.scratch, name))
    try:
        video = await _loaded(link, unfinished, chain)
        kept = f"{name}.{video.extension}"
        await store.put_file(kept, unfinished)
    finally:
        await in_thread(lambda: unfinished.unlink(missing_ok=True))
    return KeptFile(
        name=kept, media_type=video.media_type, size_bytes=video.size_bytes, sha256=video.sha256, address=link
    )


async def _loaded(link: str, unfinished: Path, chain: Chain) -> Video:
    try:
        return await fetch_video(link, unfinished, may_be_private=chain.may_be_private)
    except OSError as error:
        raise StoreError(f"{unfinished.name} could not be written in {unfinished.parent}: {error}") from error


def _begun(folder: Path, name: str) -> Path:
    """A name for an unfinished file. Removes what a process that died has left of the same video."""
    mark = hashlib.sha256(name.encode()).hexdigest()[:12]
    for left in folder.glob(f".{mark}-*.part"):
        if left.stat().st_mtime < time.time() - _ABANDONED_S:
            left.unlink(missing_ok=True)
    return folder / f".{mark}-{secrets.token_hex(8)}.part"
