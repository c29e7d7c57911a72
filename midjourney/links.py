"""Finds the links in a request, and handles those that only a private network can reach.

Such a link is never sent: the upstream would accept the request, and charge for it, and then find nothing there, or something in
its own network. An image at a host in the upstream's `private_hosts` is loaded and sent as data instead. Performs no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from midjourney.addresses import is_at, is_link, is_named, is_private, links_in, shown
from midjourney.dialects import Upstream
from midjourney.errors import InvalidRequest
from midjourney.requests import (
    Blend,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    Retexture,
    Shorten,
    Show,
    Swap,
    Video,
    VideoSwap,
)

_UNREACHABLE = "an address in a private network, which Midjourney cannot reach: the request was not sent, and costs nothing"

_NOT_FETCHED = frozenset({"notifyHook", "state"})
"""Fields of `extra` whose links are not loaded as images: the upstream calls the hook, and only repeats the state."""


class Near(msgspec.Struct, frozen=True):
    """The part of the private network that upstreams may use: their own URLs, and the hosts in their `private_hosts`."""

    urls: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()

    def __or__(self, other: Near) -> Near:
        """The union of both."""
        return Near(self.urls + other.urls, self.private_hosts + other.private_hosts)

    def may_be_private(self, link: str) -> bool:
        """True if a link may be fetched although it may be private, because it is at an upstream or at a configured host."""
        return self._is_own(link) or is_named(link, self.private_hosts)

    def loads(self, link: str) -> bool:
        """True if an image at this link is loaded and sent as data instead of the link."""
        return is_named(link, self.private_hosts) or (is_private(link) and self._is_own(link))

    def _is_own(self, link: str) -> bool:
        return any(is_at(url, link) for url in self.urls)


def near_of(upstream: Upstream) -> Near:
    """The part of the private network that this upstream may use."""
    return Near((upstream.url,), tuple(upstream.private_hosts))


def images_of(request: Request) -> list[tuple[str, str]]:
    """The images of a request that are present, each with the name of its field."""
    match request:
        case Imagine() | Blend():
            return [(f"images[{place}]", image) for place, image in enumerate(request.images)]
        case Describe() | Retexture():
            return [("image", request.image)]
        case Edit():
            return [("image", request.image), *_given(("mask", request.mask))]
        case Swap():
            return [("source", request.source), ("target", request.target)]
        case VideoSwap():
            # A link to the video is checked as those to images are; at a private host it cannot be loaded as one.
            return [
                ("source", request.source),
                *(_given(("target", request.target)) if is_link(request.target) else []),
            ]
        case Video():
            return _given(("image", request.image), ("end_image", request.end_image))
        case Modal():
            return _given(("mask", request.mask))
        case _:
            return []


def check_images(request: Request, near: Near) -> None:
    """Raise `InvalidRequest` for an image at a private link that may not be loaded."""
    for field, image in images_of(request):
        check_image(field, image, near)


def check_image(field: str, image: str, near: Near) -> None:
    """Raise `InvalidRequest` for a private link that may not be loaded."""
    if is_link(image) and is_private(image) and not near.loads(image):
        raise InvalidRequest(
            field,
            f"{shown(image)} is {_UNREACHABLE}. Give the image itself, or name its host in the upstream's private_hosts: "
            "then hookchain loads the image and sends it as data",
        )


def check_texts(request: Request) -> None:
    """Raise `InvalidRequest` for a private link in a prompt or in `extra`. Such a link is never loaded, because only the upstream
    knows whether it is an image."""
    if isinstance(request, Imagine | Shorten | Edit | Retexture | Video | Modal):
        _check_text("prompt", request.prompt)
    if isinstance(request, Show):
        _check_text("job_id", request.job_id)
    for field, value in request.extra.items():
        if field not in _NOT_FETCHED:
            for text in _texts(value):
                _check_text(f"extra.{field}", text)


def _check_text(field: str, text: str) -> None:
    for link in links_in(text):
        if is_private(link):
            raise InvalidRequest(
                field,
                f"{shown(link)} is {_UNREACHABLE}. Use a public link, or give the image in an image field of the "
                "request: from hosts in the upstream's private_hosts hookchain loads it and sends it as data",
            )


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, at any depth."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part


def _given(*images: tuple[str, str]) -> list[tuple[str, str]]:
    return [(field, image) for field, image in images if image]
