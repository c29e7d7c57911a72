"""Addresses of the videos that a task has made. Performs no I/O.

Vendors write them as `videoUrl` (a text), as `videoUrls` (a list of texts or of {"url"}: new-api, trueai 11; also as JSON in a
text: new-api's own page), or as the `imageUrl` of a task whose picture is a video.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from midjourney.addresses import is_link
from midjourney.types import Task

MOST = 8
"""The most videos of a task. A press of "Animate" makes four."""

_NAMES = ("videoUrls", "video_urls", "videoUrl", "video_url")
_ENDINGS = (".mp4", ".webm", ".mov", ".m4v")


def video_links(task: Task) -> tuple[str, ...]:
    """The addresses of the task's videos, each once, in the order in which the payload has them; at most eight.

    The task's picture is not one of them, although trueai repeats it there (`imageUrls` of its VIDEO tasks), unless its address ends
    like that of a video."""
    found = dict.fromkeys(
        link for name in _NAMES for link in _links(task.extra.get(name)) if link != task.image_url
    )
    if is_video_link(task.image_url):
        found = {task.image_url: None} | found
    return tuple(found)[:MOST]


def is_video_link(address: str) -> bool:
    """True if an address ends like the file name of a video."""
    try:
        return urlsplit(address).path.lower().endswith(_ENDINGS)
    except ValueError:
        return False


def _links(written: object) -> Iterator[str]:
    match written:
        case str() if written.lstrip().startswith("["):
            try:
                yield from _links(msgspec.json.decode(written))
            except msgspec.DecodeError:
                return
        case str() if is_link(written):
            yield written
        case list():
            for item in written:
                yield from _links(
                    item if isinstance(item, str) else item.get("url") if isinstance(item, dict) else None
                )
