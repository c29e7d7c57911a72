"""Loads images from files, URLs, bytes or base64, in the form in which submissions carry them.

hookchain fetches URLs itself, so that a URL must not give access to our own network: only public addresses are fetched, the
connection goes to the address that was checked, and redirects are checked as well. The caller says which hosts may be private: an
upstream's own, and those in its `private_hosts`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx
import msgspec

from midjourney.addresses import is_link, port_of, shown
from midjourney.bounded import BadAnswer, Bounds, Progress, TooMuch, Unwanted, exchange
from midjourney.errors import InvalidRequest, NotSent
from midjourney.files import read_file
from midjourney.image_data import (
    LARGEST_BYTES,
    START_BYTES,
    BadImage,
    Image,
    NotAnImage,
    TooLarge,
    image_of_bytes,
    image_of_text,
)
from midjourney.links import Near, images_of
from midjourney.reachable import NotReachable, address_of
from midjourney.requests import Blend, Imagine, Request
from midjourney.slices import in_slices
from midjourney.tls import trusted

REDIRECTS = 3
REDIRECTING = (301, 302, 303, 307, 308)

_UNWANTED = ("text/event-stream", "multipart/", "video/", "audio/")
"""Media types that are endless or large. Not text/html: some servers send it for everything, and the bytes decide."""

TIMEOUT_S = 20.0


MayBePrivate = Callable[[str], bool]
"""Returns True if a URL may be in a private network. Called for each redirect too."""


class NotServed(BadImage):
    """The server answered, but without the image: the URL has expired, or never led to an image. `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_gone(self) -> bool:
        """True if a retry is useless: the server has no image at this URL, or does not allow access to it."""
        return self.status in (400, 401, 403, 404, 410)


def _nowhere(_address: str) -> bool:
    return False


async def load_image(source: str | bytes | os.PathLike[str], *, largest: int = LARGEST_BYTES) -> Image:
    """Load an image from bytes, an http(s) URL, a data URL or base64; from a file if it is given as a `Path`.

    A string is never a file name, because it may come from a stranger. Raises `BadImage`.
    """
    if isinstance(source, bytes):
        return image_of_bytes(source, what="the bytes given", largest=largest)
    if isinstance(source, os.PathLike):
        return await read_image(source, largest=largest)
    if is_link(source):
        return await fetch_image(source, largest=largest)
    if source.startswith("data:"):
        return image_of_text(source, what="the data URL", largest=largest)
    try:
        return image_of_text(source, largest=largest)
    except BadImage as error:
        start = source if len(source) <= 80 else f"{source[:80]}…"
        raise BadImage(
            f"{start!r} is not a URL, a data URL or base64; pass a file as a Path, not as a string"
        ) from error


async def read_image(path: os.PathLike[str], *, largest: int = LARGEST_BYTES) -> Image:
    """The image in a regular file. Raises `BadImage`; a file that is too large is not read."""
    return await asyncio.to_thread(read_file, Path(path), largest=largest)


class _Instead:
    image: Image | None = None


@contextmanager
def fetching_nothing(image: Image) -> Iterator[None]:
    """Within the block nothing is fetched in this process: the image at every URL is this one."""
    before, _Instead.image = _Instead.image, image
    try:
        yield
    finally:
        _Instead.image = before


def is_fetching_nothing() -> bool:
    """True within `fetching_nothing`."""
    return _Instead.image is not None


async def fetch_image(
    url: str,
    *,
    largest: int = LARGEST_BYTES,
    timeout_s: float = TIMEOUT_S,
    may_be_private: MayBePrivate = _nowhere,
    progress: Progress | None = None,
) -> Image:
    """The image at a URL. Its query string is sent byte for byte, because Discord signs it.

    Raises `BadImage` for an address that is not public (unless it `may_be_private`), for an image that is too large, and if it
    cannot be loaded; `NotAnImage` for anything else than an image, as soon as its first bytes show it; `NotServed` if the server has
    no image there.
    """
    if _Instead.image is not None:
        return _Instead.image
    try:
        async with (
            asyncio.timeout(timeout_s),
            in_slices(httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=trusted())) as http,
        ):
            for _ in range(REDIRECTS + 1):
                answer = await _get(http, url, largest, progress, may_be_private)
                if isinstance(answer, bytes):
                    return image_of_bytes(answer, what=shown(url), largest=largest)
                url = urljoin(url, answer)
    except TimeoutError as error:
        raise BadImage(f"{shown(url)} did not arrive within {timeout_s:g} s") from error
    except httpx.HTTPError as error:
        raise BadImage(f"{shown(url)} cannot be loaded: {str(error) or type(error).__name__}") from error
    except (
        ValueError,
        httpx.InvalidURL,
    ) as error:  # such as a port of six digits, or a name that no header can carry
        raise BadImage(f"{shown(url)} is not a valid URL: {error}") from error
    raise BadImage(f"{shown(url)} redirects more than {REDIRECTS} times")


async def with_images_loaded(request: Request, near: Near) -> Request:
    """The request with images at private links replaced by data, if they may be loaded; `wire_body` refuses the others.

    Raises `InvalidRequest` for an image that can never be loaded, `NotSent` for one that may be loaded later.
    """
    given = images_of(request)
    if not given:
        return request
    images = {field: await _data(field, image, near) for field, image in given}
    if isinstance(request, Imagine | Blend):
        return msgspec.structs.replace(request, images=tuple(images.values()))
    return msgspec.structs.replace(request, **images)


async def _data(field: str, image: str, near: Near) -> str:
    if not (is_link(image) and near.loads(image)):
        return image
    try:
        return (await fetch_image(image, may_be_private=near.may_be_private)).data_url
    except (NotAnImage, NotServed) as error:
        if isinstance(error, NotServed) and not error.is_gone:
            raise NotSent(f"{field}: {error}") from error
        raise InvalidRequest(field, str(error)) from error
    except BadImage as error:
        raise NotSent(f"{field}: {error}") from error


async def _get(
    http: httpx.AsyncClient, url: str, largest: int, progress: Progress | None, may_be_private: MayBePrivate
) -> bytes | str:
    """The body, or the target of a redirect."""
    request = await request_for(http, urlsplit(url), accept="image/*", allow_private=may_be_private(url))

    def judge(start: bytes) -> None:
        if len(start) >= START_BYTES:
            image_of_bytes(start, what=shown(url))

    try:
        answer = await exchange(
            partial(http.send, stream=True, follow_redirects=False),
            request,
            _bounds(largest),
            progress=progress,
            judge=judge,
            reads=lambda status: status == 200,
        )
    except TooMuch as error:
        raise TooLarge(f"{shown(url)}: {error}: make it smaller") from error
    except Unwanted as error:
        raise NotAnImage(f"{shown(url)} is not a PNG, JPEG, WebP or GIF: {error}") from error
    except BadAnswer as error:
        raise BadImage(f"{shown(url)} cannot be loaded: {error}") from error
    if answer.status in REDIRECTING and "location" in answer.headers:
        return str(answer.headers["location"])
    if answer.status != 200:
        raise NotServed(f"{shown(url)} answered HTTP {answer.status}", status=answer.status)
    return answer.content


async def request_for(
    http: httpx.AsyncClient, parts: SplitResult, *, accept: str, allow_private: bool
) -> httpx.Request:
    """A GET of a URL, whose query string is sent byte for byte, to the address that was checked. Raises `BadImage`."""
    address = await _public_address(parts, allow_private=allow_private)
    host = f"[{address}]" if ":" in address else address
    target = httpx.URL(f"{parts.scheme}://{host}:{port_of(parts)}").copy_with(raw_path=_target(parts))
    headers = {"accept": accept, "accept-encoding": "identity", "user-agent": "hookchain"}
    headers["host"] = parts.netloc
    return http.build_request("GET", target, headers=headers, extensions={"sni_hostname": parts.hostname})


def _bounds(largest: int) -> Bounds:
    """The bounds of an image. Images are compressed already: a content coding is not decoded, so that its data is not an image."""
    return Bounds(
        sent_bytes=largest,
        unpacked_bytes=largest,
        within_s=TIMEOUT_S,
        unwanted=_UNWANTED,
        unpacks=False,
    )


async def _public_address(parts: SplitResult, *, allow_private: bool) -> str:
    """The address to connect to. Raises `BadImage`."""
    try:
        return await address_of(
            parts,
            allow_private=allow_private,
            cure="is not fetched unless the upstream's private_hosts names its host",
        )
    except NotReachable as error:
        raise BadImage(str(error)) from error


def _target(parts: SplitResult) -> bytes:
    """Path and query exactly as written, including a trailing &."""
    path = parts.path or "/"
    written = f"{path}?{parts.query}" if parts.query else path
    return written.encode("ascii", "backslashreplace") if written.isascii() else httpx.URL(written).raw_path
