"""Videos in submissions: data URLs, or links. Performs no I/O."""

from __future__ import annotations

import re

from midjourney.addresses import is_link
from midjourney.blob_texts import Examined, blob_in
from midjourney.errors import InvalidRequest

_VIDEO = re.compile(r"data:video/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)

TYPES: tuple[tuple[str, bytes, int], ...] = (
    ("video/quicktime", b"ftypqt", 4),
    ("video/mp4", b"ftyp", 4),
    ("video/webm", b"\x1aE\xdf\xa3", 0),
)
"""Media type, the bytes by which a video is known, and where they are. Known phones and programs write these."""


def video_type(field: str, start: bytes) -> str:
    """The media type of a video, from its first bytes. Raises `InvalidRequest`."""
    for media_type, wanted, place in TYPES:
        if start[place:].startswith(wanted):
            return media_type
    raise InvalidRequest(field, "the file is not an MP4, QuickTime or WebM video")


def check_video(field: str, video: str) -> None:
    """Raise `InvalidRequest` for anything but a link, a data URL, or a blob, which is examined before it is sent."""
    if not is_link(video) and blob_in(video) is None and not _VIDEO.match(video):
        raise InvalidRequest(field, "is neither a link to a video nor a data URL of one")


def check_examined(field: str, examined: Examined) -> None:
    """Raise `InvalidRequest` for a blob that is no video."""
    if not examined.is_base64 or not _VIDEO.match(examined.start.decode("utf-8", "replace")):
        raise InvalidRequest(field, "is not the data URL of a video in base64")
