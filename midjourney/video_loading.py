"""Loads a video from its URL into a file, in pieces: a video may be larger than the memory."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from midjourney.addresses import shown
from midjourney.bounded import BadAnswer, Bounds, TooMuch, exchange
from midjourney.errors import InvalidRequest
from midjourney.image_data import BadImage, NotAnImage, TooLarge, image_of_bytes
from midjourney.loading import (
    REDIRECTING,
    REDIRECTS,
    MayBePrivate,
    NotServed,
    is_fetching_nothing,
    request_for,
)
from midjourney.slices import in_slices
from midjourney.tls import trusted
from midjourney.videos import video_type

LARGEST_BYTES = 500 * 1024 * 1024
"""A video of Midjourney has 5 to 20 seconds: up to 20 MB, and ten times that as HD or after an upscale."""

WITHIN_S = 600.0
"""Seconds for the whole video."""

CONNECT_S = 20.0

_EXTENSIONS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "image/gif": "gif"}
_UNWANTED = ("text/event-stream", "multipart/")

_START = b"\x00\x00\x00\x18ftypmp42"
"""What a test gets instead of a video."""


class Video(msgspec.Struct, frozen=True, kw_only=True):
    """A video in a file: its type, as its first bytes show, the extension for it, and what was read."""

    media_type: str
    extension: str
    size_bytes: int
    sha256: str


class _File:
    """Writes the pieces of a video. Raises `NotAnImage` with the first of them if it is none."""

    def __init__(self, file: Path, what: str) -> None:
        self._file, self._what = file, what
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._media_type = ""

    async def add(self, piece: bytes) -> None:
        if not self._media_type:
            self._media_type = _type_of(piece, self._what)
        self._size_bytes += len(piece)
        self._digest.update(piece)
        await asyncio.to_thread(self._append, piece)

    def _append(self, piece: bytes) -> None:
        with self._file.open("ab") as opened:
            opened.write(piece)

    def video(self) -> Video:
        """What was written."""
        return Video(
            media_type=self._media_type,
            extension=_EXTENSIONS[self._media_type],
            size_bytes=self._size_bytes,
            sha256=self._digest.hexdigest(),
        )


async def fetch_video(
    url: str, file: Path, *, largest: int = LARGEST_BYTES, may_be_private: MayBePrivate
) -> Video:
    """Load the video at a URL into a new file. The rules for addresses are those of `fetch_image`.

    Raises `BadImage` as `fetch_image` does: `NotAnImage` for anything but MP4, QuickTime, WebM or GIF, `TooLarge`, `NotServed`.
    """
    into = _File(file, shown(url))
    if is_fetching_nothing():
        await into.add(_START)
        return into.video()
    try:
        async with in_slices(httpx.AsyncClient(timeout=CONNECT_S, trust_env=False, verify=trusted())) as http:
            for _ in range(REDIRECTS + 1):
                target = await _get(http, url, into, largest, may_be_private)
                if not target:
                    return into.video()
                url = urljoin(url, target)
    except httpx.HTTPError as error:
        raise BadImage(f"{shown(url)} cannot be loaded: {str(error) or type(error).__name__}") from error
    except (ValueError, httpx.InvalidURL) as error:
        raise BadImage(f"{shown(url)} is not a valid URL: {error}") from error
    raise BadImage(f"{shown(url)} redirects more than {REDIRECTS} times")


async def _get(
    http: httpx.AsyncClient, url: str, into: _File, largest: int, may_be_private: MayBePrivate
) -> str:
    """Load the video, or return the target of a redirect."""
    request = await request_for(
        http, urlsplit(url), accept="video/*, image/gif", allow_private=may_be_private(url)
    )
    try:
        answer = await exchange(
            partial(http.send, stream=True, follow_redirects=False),
            request,
            Bounds(
                sent_bytes=largest,
                unpacked_bytes=largest,
                within_s=WITHIN_S,
                unwanted=_UNWANTED,
                unpacks=False,
            ),
            reads=lambda status: status == 200,
            sink=into.add,
        )
    except TooMuch as error:
        raise TooLarge(f"{shown(url)}: {error}") from error
    except BadAnswer as error:
        raise BadImage(f"{shown(url)} cannot be loaded: {error}") from error
    if answer.status in REDIRECTING and "location" in answer.headers:
        return str(answer.headers["location"])
    if answer.status != 200:
        raise NotServed(f"{shown(url)} answered HTTP {answer.status}", status=answer.status)
    return ""


def _type_of(start: bytes, what: str) -> str:
    """The type of a video by its first bytes. Raises `NotAnImage`."""
    try:
        return video_type("video", start)
    except InvalidRequest as error:
        if start.startswith(b"GIF8"):
            return image_of_bytes(start[:64], what=what).media_type
        raise NotAnImage(f"{what} is not an MP4, QuickTime, WebM or GIF") from error
